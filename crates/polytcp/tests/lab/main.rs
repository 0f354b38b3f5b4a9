//! The running stack against the Linux kernel, joined by TUN devices in a namespace of its own (the lab).
//!
//! One binary, so that it links once. What the tests are made of: [`stream_data`] (bytes and their
//! digest), [`watched`] (a device that counts and remembers), [`spoiled`] (one that changes payload), [`world`] (a kernel and a stack with paths
//! between them), [`transfer`] (bytes from one end to the other), [`verdict`] (what the kernel says about it),
//! [`bounded`] (nothing hangs). The tests:
//! [`matrix`], [`boxes`] (middleboxes), [`checksum`], [`writes`], [`cut`], [`endings`], [`fallback`], [`many`],
//! [`opening`], [`unequal`], [`addresses`].

mod addresses;
mod bounded;
mod boxes;
mod checksum;
mod cut;
mod endings;
mod fallback;
mod many;
mod matrix;
mod opening;
mod spoiled;
mod stream_data;
mod transfer;
mod unequal;
mod verdict;
mod watched;
mod world;
mod writes;
