//! What is kept of what a program says: the end of its complaints, and how far it is.

use std::collections::VecDeque;

/// Most that is kept of a program's complaints. Unit: bytes.
const TAIL_BYTES_MAX: usize = 4 * 1024;
/// Longest line of progress that is read. Unit: bytes.
const LINE_BYTES_MAX: usize = 256;

/// The end of a text, however long it is.
#[derive(Debug, Default)]
pub struct Tail(VecDeque<u8>);

impl Tail {
    /// Takes what comes next.
    pub fn take(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(TAIL_BYTES_MAX)..];
        let over = (self.0.len() + kept.len()).saturating_sub(TAIL_BYTES_MAX);
        self.0.drain(..over);
        self.0.extend(kept);
    }

    /// As text, its lines joined, without what a terminal would act on.
    pub fn text(&self) -> String {
        let bytes: Vec<_> = self.0.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let joined = lines.collect::<Vec<_>>().join("; ");
        joined.chars().filter(|letter| !letter.is_control()).collect()
    }
}

/// Reads `-progress`: lines of `key=value`.
#[derive(Debug, Default)]
pub struct Progress(Vec<u8>);

impl Progress {
    /// Takes what comes next, and tells of each time reached. Unit: microseconds of media.
    pub fn take(&mut self, bytes: &[u8], tell: &(dyn Fn(u64) + Send + Sync)) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = String::from_utf8_lossy(&self.0);
                    let time = line.strip_prefix("out_time_us=").and_then(|time| time.trim().parse().ok());
                    time.into_iter().for_each(tell);
                    self.0.clear();
                }
                byte if self.0.len() < LINE_BYTES_MAX => self.0.push(*byte),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn of_a_flood_only_the_end_is_kept() {
        let mut tail = Tail::default();
        for line in 0..100_000 {
            tail.take(format!("line {line}\n").as_bytes());
        }
        tail.take(b"\x1b[31mthe end\x07\n");
        let text = tail.text();
        assert!(text.ends_with("line 99999; [31mthe end"), "{text}");
        assert!(text.len() < 2 * TAIL_BYTES_MAX);
        let mut tail = Tail::default();
        tail.take(&[b'x'; 3 * TAIL_BYTES_MAX]);
        assert_eq!(tail.text().len(), TAIL_BYTES_MAX);
    }

    #[test]
    fn progress_is_read_however_it_is_cut() {
        let told = Mutex::new(Vec::new());
        let mut progress = Progress::default();
        let text = b"frame=3\nout_time_us=N/A\nout_time_us=1500000\nprogress=continue\nout_time_us=2000000\n";
        for piece in text.chunks(5) {
            progress.take(piece, &|us| told.lock().unwrap().push(us));
        }
        assert_eq!(*told.lock().unwrap(), [1_500_000, 2_000_000]);
    }
}
