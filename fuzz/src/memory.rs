//! The peak memory of a call, checked against a bound that depends only on the length of the input.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The bytes that any call may take, however short its input: mostly for the messages of a hundred faults, which have taken
/// up to 35 KiB.
pub const BASE: usize = 64 * 1024;

/// The bytes that a call may take for every byte of its input, beyond the base. The costliest bodies, nested lists of one
/// item, take 64: two bytes open and close a list, which has room for four values of 32 bytes.
pub const PER_BYTE: usize = 96;

/// Makes the call and returns its result, with the peak of the bytes that it took.
///
/// The memory of the whole program is measured, so nothing else may run at the same time.
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
