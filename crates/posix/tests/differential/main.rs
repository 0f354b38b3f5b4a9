//! Linux's sockets and those of a stack, side by side: the same calls in the same order on both, with the Linux kernel as the
//! peer of both, and every answer compared.
//!
//! [`bsd`]: the calls, as both sides have them. [`kernel`]: the kernel's. [`world`]: a side under test with its peer.
//! [`scene`]: how a socket comes into a state. [`options`]: options by their names. [`told`]: answers as texts. [`compare`]:
//! many things done on both sides. [`differences`]: which differences are meant. The comparisons: [`table`] (every call in
//! every state), [`option_table`] (every option), [`infos`]
//! (structures that tell about connections), [`written`] and [`random`] (programs of calls, in the language of [`program`]),
//! [`epoll`] (what epoll tells, and how often).

mod bsd;
mod compare;
mod differences;
mod epoll;
mod infos;
mod kernel;
mod option_table;
mod options;
mod program;
mod random;
mod scene;
mod table;
mod told;
mod world;
mod written;
