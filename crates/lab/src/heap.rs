//! What the process has allocated, as the C library counts it.

/// Octets of heap in use by all threads; `None` where the C library does not tell.
///
/// Freed memory that a thread keeps for its next allocations counts as used: some kilobytes for each thread.
pub fn heap_octets() -> Option<usize> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: it takes nothing and returns numbers by value; the library locks each arena it looks at.
        let heap = unsafe { libc::mallinfo2() };
        // Large blocks, such as a table of many connections, are mapped one by one and counted apart.
        Some(heap.uordblks.saturating_add(heap.hblkhd))
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_is_counted_small_and_large() {
        let Some(before) = heap_octets() else { return };
        let small: Vec<Box<[u8; 512]>> = (0..1_000).map(|_| Box::new([1; 512])).collect();
        let large = vec![1_u8; 8 << 20];
        let after = heap_octets().expect("told before");
        // Other tests allocate and free at the same time.
        let grown = after.saturating_sub(before);
        assert!(((8 << 20)..(12 << 20)).contains(&grown), "{grown}");
        drop((small, large));
    }
}
