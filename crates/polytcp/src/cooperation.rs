//! Tasks that always find something to do let others run: polls of the async sockets use up tokio's budget.
//!
//! A socket may stay ready for as long as its task goes on, since a writing task sends by itself. Tasks that it wakes
//! meanwhile wait on its own thread, where no other thread takes them over (tokio's LIFO slot): without a budget they
//! wait for hundreds of milliseconds. Outside a tokio runtime, and without the feature `tokio`, there is no budget.

use std::task::{Context, Poll};

/// Polls once, unless the task has used up its budget: then it is woken again after others have run.
#[cfg(feature = "tokio")]
pub(crate) fn cooperate<T>(
    context: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let budget = std::task::ready!(tokio::task::coop::poll_proceed(context));
    let answer = poll(context);
    if answer.is_ready() {
        budget.made_progress();
    }
    answer
}

/// Polls once.
#[cfg(not(feature = "tokio"))]
pub(crate) fn cooperate<T>(
    context: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    poll(context)
}
