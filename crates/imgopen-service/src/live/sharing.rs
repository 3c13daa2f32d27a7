//! The previews of a run that are stored for other processes, as long as somebody waits for them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use imgopen_engine::Picture;
use imgopen_store::AssetToken;

/// How many previews of a run are kept: the latest, and the one before for those who have just heard of it.
const KEPT: usize = 2;

/// The previews of a run that are stored.
#[derive(Debug, Clone, Default)]
pub struct Sharing {
    /// Until when somebody waits for them, by the uptime.
    watched_until: Option<Duration>,
    /// The last one that was to be stored.
    last: Option<Bytes>,
    stored: VecDeque<AssetToken>,
    /// Whether one was ever to be stored, so that a file may be left.
    has_begun: bool,
    /// Whether the run shows none any more.
    is_over: bool,
}

impl Sharing {
    /// Notes until when somebody waits.
    pub fn watched(&mut self, until: Duration) {
        self.watched_until = Some(until);
    }

    /// Returns the latest preview if it is to be stored now: somebody waits, and it is another one than the last. With it, the name
    /// of the one that it is to overwrite, if there are enough.
    pub fn take(&mut self, latest: Picture, now: Duration) -> Option<(Picture, Option<AssetToken>)> {
        let is_watched = self.watched_until.is_some_and(|until| now < until);
        // The last one is kept, so its memory is not that of another.
        let is_same = |last: &Bytes| last.as_ptr() == latest.bytes.as_ptr() && last.len() == latest.bytes.len();
        if self.is_over || !is_watched || self.last.as_ref().is_some_and(is_same) {
            return None;
        }
        self.last = Some(latest.bytes.clone());
        self.has_begun = true;
        let over = if self.stored.len() >= KEPT { self.stored.pop_front() } else { None };
        Some((latest, over))
    }

    /// Notes that one is stored. Returns it if it is to be deleted, because the run shows none any more.
    pub fn stored(&mut self, token: AssetToken) -> Option<AssetToken> {
        if self.is_over {
            return Some(token);
        }
        self.stored.push_back(token);
        None
    }

    /// Returns the latest that is stored.
    pub fn latest(&self) -> Option<&AssetToken> {
        self.stored.back()
    }

    /// Ends the previews. Returns those that are stored; `None` if no file can be left.
    pub fn end(&mut self) -> Option<Vec<AssetToken>> {
        self.is_over = true;
        let stored = self.stored.drain(..).collect();
        self.has_begun.then_some(stored)
    }
}

#[cfg(test)]
mod tests {
    use imgopen_engine::Format;

    use super::*;

    fn picture() -> Picture {
        Picture { bytes: vec![7; 4].into(), format: Format::Png, width: 1, height: 1, seed: None }
    }

    fn token(name: &str) -> AssetToken {
        AssetToken(name.to_owned())
    }

    #[test]
    fn a_preview_is_taken_once_and_only_while_somebody_waits() {
        let (mut sharing, first) = (Sharing::default(), picture());
        assert_eq!(sharing.take(first.clone(), Duration::ZERO), None);
        sharing.watched(Duration::from_secs(10));
        assert_eq!(sharing.take(first.clone(), Duration::ZERO), Some((first.clone(), None)));
        assert_eq!(sharing.take(first, Duration::ZERO), None);
        assert!(sharing.take(picture(), Duration::from_secs(9)).is_some());
        assert_eq!(sharing.take(picture(), Duration::from_secs(10)), None);
    }

    #[test]
    fn old_previews_are_overwritten_and_all_are_deleted_at_the_end() {
        let mut sharing = Sharing::default();
        assert_eq!(sharing.end(), None);
        let mut sharing = Sharing::default();
        sharing.watched(Duration::from_secs(10));
        for (name, overwritten) in [("a", None), ("b", None), ("a", Some(token("a"))), ("b", Some(token("b")))] {
            let (_, over) = sharing.take(picture(), Duration::ZERO).unwrap();
            assert_eq!(over, overwritten);
            assert_eq!(sharing.stored(token(name)), None);
            assert_eq!(sharing.latest(), Some(&token(name)));
        }
        // One that is being written is not kept either.
        let (_, over) = sharing.take(picture(), Duration::ZERO).unwrap();
        assert_eq!((over, sharing.end()), (Some(token("a")), Some(vec![token("b")])));
        assert_eq!(sharing.stored(token("a")), Some(token("a")));
        assert_eq!((sharing.take(picture(), Duration::ZERO), sharing.latest()), (None, None));
    }
}
