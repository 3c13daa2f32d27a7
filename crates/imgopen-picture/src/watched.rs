//! Stops decoders when their job is cancelled.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use imgopen_engine::{EngineError, Monitor};

/// How many bytes of a file a decoder gets before cancellation is checked again.
pub(crate) const PART: usize = 64 * 1024;

/// A file that cannot be read any further once its job is cancelled.
pub(crate) struct Watched<'a, R> {
    file: R,
    monitor: Option<&'a Monitor>,
    /// How many bytes may be read before the next check.
    left: usize,
}

impl<'a, R> Watched<'a, R> {
    pub(crate) fn new(file: R, monitor: Option<&'a Monitor>) -> Self {
        Self { file, monitor, left: 0 }
    }

    fn check(&mut self) -> io::Result<()> {
        if self.left == 0 {
            if self.monitor.is_some_and(Monitor::is_cancelled) {
                return Err(io::Error::other(EngineError::Cancelled));
            }
            self.left = PART;
        }
        Ok(())
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let length = buffer.len().min(self.left);
        let count = self.file.read(&mut buffer[..length])?;
        self.left -= count;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Watched<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check()?;
        let rest = self.file.fill_buf()?;
        Ok(&rest[..rest.len().min(self.left)])
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count);
        self.file.consume(count);
    }
}

impl<R: Seek> Seek for Watched<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
