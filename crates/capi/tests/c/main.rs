//! The library as C programs meet it: installed, found by pkg-config, linked both ways, with the Linux kernel as peer.
//!
//! `installed`: an installation in a temporary directory, and programs that are compiled against it. `interface`: the header and
//! what is exported. `answers`: the same calls on the kernel's sockets and on these. `lab`: a program that uses every call, under
//! valgrind too. `threads`: two stacks, many threads. `packetdrill`: its interface. `example`, `bsd`: the example, and a program that knows nothing of the library.

mod answers;
mod bsd;
mod example;
mod installed;
mod interface;
mod lab;
mod packetdrill;
mod threads;
