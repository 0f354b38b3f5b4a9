//! Linux's sockets and those of a stack, side by side: the same calls in the same order on both, with the Linux kernel as the
//! peer of both, and every answer compared.
//!
//! [`bsd`]: the calls, as both sides have them. [`kernel`]: the kernel's. [`world`]: a side under test with its peer.
//! [`scene`]: how a socket comes into a state. [`differences`]: which differences are meant. The comparisons: [`table`] (every call in every state).

mod bsd;
mod differences;
mod kernel;
mod scene;
mod table;
mod world;
