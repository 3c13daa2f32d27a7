//! The memory that a call takes at its height, held against a bound that grows with the input and with nothing else.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What any call may take, however short its input: mostly for a hundred faults in words, of which 35 KiB were the most
/// that was seen.
pub const BASE: usize = 64 * 1024;

/// What a call may take for every byte of its input, beyond the base. The costliest bodies, lists in lists of one item, take 64: two
/// bytes open and close a list, which has room for four values of 32 bytes.
pub const PER_BYTE: usize = 96;

/// Makes the call and returns its result, with the most bytes that were taken at once while it ran.
///
/// The whole program's memory is measured, so nothing else may run beside it.
pub fn measured<T>(call: impl FnOnce() -> T) -> (T, usize) {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let result = call();
    (result, HEAP.peak_usage().saturating_sub(before))
}

/// Makes the call and returns its result.
///
/// # Panics
///
/// When it takes more memory than an input of that length may cost.
pub fn bounded<T>(length: usize, what: &str, call: impl FnOnce() -> T) -> T {
    let (result, taken) = measured(call);
    let most = BASE + PER_BYTE * length;
    assert!(taken <= most, "{what}: {length} bytes of input took {taken} bytes of memory; at most {most} are allowed");
    result
}
