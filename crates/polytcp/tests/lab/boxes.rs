//! Every middlebox of `polytcp-netem` between the stack and the kernel, in both roles, and for comparison
//! between two kernels. [`scene`]: two peers with boxes between them. [`arrives`]: boxes that MPTCP or the
//! way back to TCP copes with. [`changed`]: boxes that change payload. [`lost`]: boxes that take a path away.

mod arrives;
mod changed;
mod lost;
mod scene;
