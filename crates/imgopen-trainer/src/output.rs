//! What the trainer prints: lines, and bars that overwrite themselves. The steps of its progress are on its standard error, the
//! epochs on its standard output.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The most bytes of a line that are looked at.
const LONGEST: usize = 16 * 1024;

/// The state of the bar that counts steps. Other bars have other names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Steps {
    pub done: u32,
    pub total: u32,
    /// The mean loss of the epoch so far.
    pub loss: Option<f64>,
}

impl Steps {
    /// Reads a line such as `steps:  33%|███▎      | 2/6 [01:03<02:07, 32.00s/it, avr_loss=1.27]`. Other output may follow.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let mut parts = line.strip_prefix("steps:")?.splitn(3, '|');
        let counts = parts.nth(2)?.trim_start();
        let (done, rest) = counts.split_once('/')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let loss = rest.split_once("avr_loss=").and_then(|(_, loss)| loss.split([',', ']', ' ']).next()?.parse().ok());
        Some(Self { done: done.parse().ok()?, total: rest[..end].parse().ok()?, loss })
    }
}

/// Reads a line such as `epoch 1/2`: the number of the epoch that begins, and of all.
pub(crate) fn epoch(line: &str) -> Option<(u32, u32)> {
    let (number, all) = line.trim().strip_prefix("epoch ")?.split_once('/')?;
    Some((number.parse().ok()?, all.parse().ok()?))
}

/// Whether a line is a bar, of steps or of anything else.
pub(crate) fn is_bar(line: &str) -> bool {
    line.contains("%|") && line.ends_with(']')
}

/// Reads a stream to its end, and gives out each line, and each state of a bar.
pub(crate) async fn lines(mut stream: impl AsyncRead + Unpin, mut take: impl FnMut(&str)) -> io::Result<()> {
    let (mut line, mut buffer) = (Vec::new(), [0; 8 * 1024]);
    loop {
        let count = stream.read(&mut buffer).await?;
        for byte in &buffer[..count] {
            match byte {
                b'\n' | b'\r' => {
                    take(&String::from_utf8_lossy(&line));
                    line.clear();
                }
                byte if line.len() < LONGEST => line.push(*byte),
                _ => {}
            }
        }
        if count == 0 {
            take(&String::from_utf8_lossy(&line));
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] = include_bytes!("../tests/recordings/run_ok.stderr.txt");
    const OK_OUT: &[u8] = include_bytes!("../tests/recordings/run_ok.stdout.txt");
    const KILLED: &[u8] = include_bytes!("../tests/recordings/run_killed.stderr.txt");

    async fn read<T>(stream: &[u8], find: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let mut found = Vec::new();
        lines(stream, |line| found.extend(find(line))).await.unwrap();
        found
    }

    #[tokio::test]
    async fn the_steps_of_recorded_trainings_are_read() {
        let steps = read(OK, Steps::read).await;
        let mut counts: Vec<_> = steps.iter().map(|steps| (steps.done, steps.total)).collect();
        counts.dedup();
        assert_eq!(counts, (0..=6).map(|done| (done, 6)).collect::<Vec<_>>());
        assert_eq!((steps[0].loss, steps.last().unwrap().loss), (None, Some(1.16)));
        let killed = read(KILLED, Steps::read).await;
        assert_eq!(killed.last(), Some(&Steps { done: 9, total: 100, loss: Some(1.05) }));
        assert_eq!(read(OK_OUT, epoch).await, [(1, 2), (2, 2)]);
    }

    #[test]
    fn only_the_bar_of_steps_counts() {
        for line in
            ["  0%|          | 0/10 [00:00<?, ?it/s]", "read caption: 100%|███| 10/10 [00:00<00:00]", "steps:", ""]
        {
            assert_eq!(Steps::read(line), None, "{line}");
        }
        let followed = "steps:   0%|          | 0/3 [00:00<?, ?it/s]Traceback (most recent call last):";
        assert_eq!(Steps::read(followed), Some(Steps { done: 0, total: 3, loss: None }));
        assert!(!is_bar(followed) && is_bar("steps:   0%|          | 0/3 [00:00<?, ?it/s]"));
        for line in ["num epochs / epoch数: 2", "epoch is incremented.", "epoch 1"] {
            assert_eq!(epoch(line), None, "{line}");
        }
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_cut() {
        let endless = vec![b'x'; 3 * LONGEST];
        let found = read(&endless, |line| Some(line.len())).await;
        assert_eq!(found, [LONGEST]);
    }
}
