//! One MPTCP connection over its subflows (RFC 8684).
//!
//! | file | what | section |
//! | --- | --- | --- |
//! | [`key`] | keys, tokens, HMACs | 3.1, 3.2, 3.4.1 |
//! | [`mapping`], [`checksum`] | data sequence to subflow sequence | 3.3, 3.3.1 |
//! | [`send_buffer`], [`reinject`], [`send`] | the data-level sender | 3.3 |
//! | `deliver` | payload by its mappings, once verified | 3.3, 3.3.1 |
//! | [`recv`], [`pieces`] | the data-level receiver | 3.3 |
//! | [`subflow`] | what is kept for each subflow | 3.2 |
//! | [`hook`] | options and payload between a flow and the data level | 3.3 to 3.8 |
//! | `options_in`, `options_out` | what options say, and which a segment carries | 3.1 to 3.8 |
//! | [`capable`] | MP_CAPABLE | 3.1 |
//! | [`connection`] | the whole: its parts, and how it begins | |
//! | `input` | what arrives for it | |
//! | `ends` | how it and its subflows end | 3.3.3, 3.5, 3.6 |
//! | `calls` | what the application does with it | |
//! | [`handshake`] | MP_CAPABLE and MP_JOIN of subflows that we open | 3.1, 3.2 |
//! | [`fallback`] | every way back to plain TCP, MP_FAIL | 3.7 |
//! | [`transmit`] | what leaves next, by the scheduler | 3.3.5 |
//! | `memory`, `tuning`, `idle` | what a connection may hold, how that grows, and what an idle one gives back | 3.3.4, 3.3.5 |
//! | [`timeouts`] | what becomes due at data level | 3.3.6 |
//! | `user_timeout` | when nothing came back for too long | |

mod calls;
pub mod capable;
pub mod checksum;
pub mod connection;
mod deliver;
mod ends;
pub mod fallback;
pub mod handshake;
mod hold;
pub mod hook;
mod idle;
mod input;
pub mod key;
pub mod mapping;
mod memory;
mod options_in;
mod options_out;
pub mod pieces;
pub mod recv;
pub mod reinject;
pub mod send;
pub mod send_buffer;
pub mod subflow;
pub mod timeouts;
pub mod transmit;
mod tuning;
mod user_timeout;
