//! Small file systems of a test's own: one in memory that can be filled up and freed, which is what a full disk looks
//! like, and one in a file that can be cut off from its power.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Mounted until it is dropped.
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many megabytes at a directory, which is made. None where that is not allowed, which
    /// is told: only root may mount.
    pub fn mount(at: &Path, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o"]).arg(format!("size={megabytes}m")).arg("kawaraban-test").arg(at);
        let mounted = mount.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: a file system of its own needs root, and mount was refused");
            return None;
        }
        Some(Self { at: at.to_owned() })
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut filler = File::options().append(true).create(true).open(self.filler()).unwrap();
        for block in [65_536, 4096, 512] {
            while filler.write_all(&vec![b'x'; block]).is_ok() {}
        }
    }

    /// Gives it back.
    pub fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // lazily: whoever still has a file open is about to close it
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// An ext4 file system in a file. It writes nothing back by itself for ten minutes, so that what is in the file is what
/// was synced.
pub struct PowerDisk {
    at: PathBuf,
    image: PathBuf,
}

impl PowerDisk {
    /// Makes one and mounts it at a directory, which is made. None where that is not allowed, which is said.
    pub fn mount(image: &Path, at: &Path) -> Option<Self> {
        File::create(image).unwrap().set_len(48 << 20).unwrap();
        let made = quiet(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=0"]).arg(image));
        let disk = made.then(|| Self::mounted(image, at)).flatten();
        if disk.is_none() {
            eprintln!("SKIPPED: a file system in a file needs root, mkfs.ext4 and loop devices");
        }
        disk
    }

    fn mounted(image: &Path, at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = quiet(Command::new("mount").args(["-t", "ext4", "-o", "loop,commit=600"]).arg(image).arg(at));
        mounted.then(|| Self { at: at.to_owned(), image: image.to_owned() })
    }

    /// What a power cut at this moment leaves behind: its image.
    pub fn cut(&self, into: &Path) {
        // the copy keeps holes
        assert!(quiet(Command::new("cp").args(["--sparse=always"]).arg(&self.image).arg(into)), "the image is copied");
    }

    /// Mounts what a cut has left, which replays its journal.
    pub fn after_cut(image: &Path, at: &Path) -> Self {
        Self::mounted(image, at).expect("what is left of a file system is mounted")
    }
}

impl Drop for PowerDisk {
    fn drop(&mut self) {
        // whoever still has a file open is about to close it
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn quiet(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
