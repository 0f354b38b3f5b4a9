//! The caller's memory: pointers and lengths as slices, checked as far as they can be.
//!
//! Linux finds out about any wrong pointer; here only a null pointer is found, and any other one has to be good.

use std::io::{IoSlice, IoSliceMut};

use rustix::io::Errno;

/// Octets that one call moves at most (Linux: `MAX_RW_COUNT`).
const CALL_BYTES_MAX: usize = 0x7fff_f000;
/// Parts of one call at most (Linux: `UIO_MAXIOV`).
const PARTS_MAX: usize = 1024;

/// How a list of parts ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Parts {
    /// All are there.
    Whole,
    /// The next one is at a null pointer.
    CutOff,
}

/// Reads a value; `EFAULT` for a null pointer.
///
/// # Safety
/// `from` is null, or points to a `T`.
pub(crate) unsafe fn read<T: Copy>(from: *const T) -> Result<T, Errno> {
    if from.is_null() {
        return Err(Errno::FAULT);
    }
    // SAFETY: it is not null, so by contract it points to a value; the caller may keep it at any address.
    Ok(unsafe { from.read_unaligned() })
}

/// Writes a value; `EFAULT` for a null pointer.
///
/// # Safety
/// `to` is null, or points to room for a `T`.
pub(crate) unsafe fn write<T>(to: *mut T, value: T) -> Result<(), Errno> {
    if to.is_null() {
        return Err(Errno::FAULT);
    }
    // SAFETY: it is not null, so by contract there is room for the value; the caller may keep it at any address.
    unsafe { to.write_unaligned(value) };
    Ok(())
}

/// `len` octets to read; `None` for a null pointer to more than none.
///
/// # Safety
/// `from` is null, or points to `len` octets that nobody changes during `'a`.
pub(crate) unsafe fn octets<'a>(from: *const u8, len: usize) -> Option<&'a [u8]> {
    match len.min(CALL_BYTES_MAX) {
        0 => Some(&[]),
        _ if from.is_null() => None,
        // SAFETY: by contract that many octets are there and stay as they are.
        len => Some(unsafe { std::slice::from_raw_parts(from, len) }),
    }
}

/// `len` octets to write; `None` for a null pointer to more than none.
///
/// # Safety
/// `to` is null, or points to `len` octets that nobody else uses during `'a`. They are only written.
pub(crate) unsafe fn room<'a>(to: *mut u8, len: usize) -> Option<&'a mut [u8]> {
    match len.min(CALL_BYTES_MAX) {
        0 => Some(&mut []),
        _ if to.is_null() => None,
        // SAFETY: by contract that many octets are the caller's alone.
        len => Some(unsafe { std::slice::from_raw_parts_mut(to, len) }),
    }
}

/// The entries of an array of parts, which are checked as Linux does (`import_iovec`).
///
/// # Safety
/// `parts` is null, or points to `count` entries.
unsafe fn entries(parts: *const libc::iovec, count: usize) -> Result<Vec<libc::iovec>, Errno> {
    if count > PARTS_MAX {
        return Err(Errno::INVAL);
    }
    let mut entries = Vec::with_capacity(count);
    let mut left = CALL_BYTES_MAX;
    for index in 0..count {
        // SAFETY: the entry is one of `count`, or null is refused.
        let mut entry = unsafe { read(parts.wrapping_add(index)) }?;
        if isize::try_from(entry.iov_len).is_err() {
            return Err(Errno::INVAL);
        }
        entry.iov_len = entry.iov_len.min(left);
        left -= entry.iov_len;
        entries.push(entry);
    }
    Ok(entries)
}

/// The parts of a message to send, up to the first one that is not there.
///
/// # Safety
/// `parts` is null, or points to `count` entries, each with null or that many octets, which nobody changes during `'a`.
pub(crate) unsafe fn parts<'a>(
    parts: *const libc::iovec,
    count: usize,
) -> Result<(Vec<IoSlice<'a>>, Parts), Errno> {
    let mut slices = Vec::new();
    // SAFETY: as the caller's.
    for entry in unsafe { entries(parts, count) }? {
        // SAFETY: as the caller's.
        match unsafe { octets(entry.iov_base.cast(), entry.iov_len) } {
            Some(slice) => slices.push(IoSlice::new(slice)),
            None => return Ok((slices, Parts::CutOff)),
        }
    }
    Ok((slices, Parts::Whole))
}

/// The parts of a buffer to receive into; see [`parts`].
///
/// # Safety
/// `parts` is null, or points to `count` entries, each with null or that many octets, which nobody else uses during `'a`.
pub(crate) unsafe fn parts_mut<'a>(
    parts: *const libc::iovec,
    count: usize,
) -> Result<(Vec<IoSliceMut<'a>>, Parts), Errno> {
    let mut slices = Vec::new();
    // SAFETY: as the caller's.
    for entry in unsafe { entries(parts, count) }? {
        // SAFETY: as the caller's.
        match unsafe { room(entry.iov_base.cast(), entry.iov_len) } {
            Some(slice) => slices.push(IoSliceMut::new(slice)),
            None => return Ok((slices, Parts::CutOff)),
        }
    }
    Ok((slices, Parts::Whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_pointer_is_a_fault_and_an_empty_one_is_not() {
        // SAFETY: null is allowed.
        unsafe {
            assert_eq!(read::<i32>(std::ptr::null()), Err(Errno::FAULT));
            assert_eq!(write(std::ptr::null_mut(), 1), Err(Errno::FAULT));
            assert_eq!(octets(std::ptr::null(), 1), None);
            assert_eq!(octets(std::ptr::null(), 0), Some(&[][..]));
            assert!(room(std::ptr::null_mut(), 1).is_none());
        }
    }

    #[test]
    fn parts_are_counted_and_measured() {
        let text = *b"text";
        let part = libc::iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: 4 };
        let none = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 1 };
        let endless = libc::iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: usize::MAX };
        // SAFETY: each array has as many entries as is said, of octets that are there or of null.
        unsafe {
            let (slices, whole) = parts([part, part].as_ptr(), 2).expect("two parts");
            assert_eq!((slices.len(), &*slices[1], whole), (2, &b"text"[..], Parts::Whole));
            let (slices, whole) = parts([part, none].as_ptr(), 2).expect("one part");
            assert_eq!((slices.len(), whole), (1, Parts::CutOff));
            assert_eq!(parts([endless].as_ptr(), 1).err(), Some(Errno::INVAL));
            assert_eq!(parts([part].as_ptr(), 1025).err(), Some(Errno::INVAL));
            assert_eq!(parts(std::ptr::null(), 1).err(), Some(Errno::FAULT));
        }
    }
}
