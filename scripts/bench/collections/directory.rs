//! A directory on the disk, for as long as a case runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use triwire::load::Result;

use super::alone::DIRECTORY;

/// Removed when it is dropped, with all that is in it.
pub struct Directory(PathBuf);

impl Directory {
    /// A new one, with nothing in it.
    pub fn new(name: &str) -> Result<Directory> {
        let path = Path::new(DIRECTORY).join(format!("collections-{name}-{}", process::id()));
        fs::create_dir_all(&path)?;
        Ok(Directory(path))
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What a server is told, to keep its documents here.
    pub fn flag(&self) -> String {
        format!("--data={}", self.0.display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left costs room on the disk and nothing else.
        let _ = fs::remove_dir_all(&self.0);
    }
}
