//! How much is kept of what files carry.

/// The most bytes of the texts of a file together, when they are unpacked, and of each other thing that it carries.
pub(super) const MOST: usize = 4 * 1024 * 1024;

/// What each text takes of that, besides its length.
pub(super) const EACH: usize = 256;
