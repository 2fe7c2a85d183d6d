//! A disk of its own for a test: small, full, or one that may not be written.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::setting;

/// A file system in memory; gone when this is dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with a word about it, where the test may not mount. Where tools are required and the user may everything,
    /// that is a failure. Behind the size there may be further options, after a comma.
    pub fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        let why = match mounted {
            Ok(done) if done.status.success() => return Some(Self(at.to_owned())),
            Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let required = setting("GREENROOM_REQUIRE_TOOLS").is_some_and(|value| !value.is_empty());
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let root = status.lines().any(|line| line.starts_with("Uid:\t0\t0"));
        assert!(!(required && root), "cannot mount a small disk: {why}");
        println!("skipped: cannot mount a small disk: {}", why.trim());
        None
    }

    /// Mounts it anew, so that it may be written or not.
    pub fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let done = Command::new("mount").args(["-o", &options]).arg(&self.0).status().expect("mount");
        assert!(done.success(), "cannot remount {}", self.0.display());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Leaves not one block.
pub fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for block in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![1; block]).is_ok() {}
    }
}
