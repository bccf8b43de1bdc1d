//! Where a page goes: a folder that is made if it is not there, and in it one file that nobody else wrote.
//! The command line prepares a place before the run, so that a run is not measured for nothing, and the page is written after it.
//! Invariants: a file is replaced only if it begins as this program's pages do, and is never followed through a link; a page
//! is there as a whole or not at all.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// The first line of every page.
pub(crate) const FIRST_LINE: &str = "<!doctype html><!-- a report of wirefan-loadtest -->\n";
/// The page's file.
const NAME: &str = "index.html";

/// A folder for one page.
#[derive(Clone, Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// Makes the folder if it is not there.
    ///
    /// # Errors
    /// A sentence: it cannot be made, or there is a page of somebody else in it.
    pub(crate) fn prepare(folder: &Path) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|error| format!("--report {}: {error}", folder.display()))?;
        let place = Self(folder.to_owned());
        place.check()?;
        Ok(place)
    }

    /// The page's path.
    pub(crate) fn file(&self) -> PathBuf {
        self.0.join(NAME)
    }

    /// Refuses to replace what is not ours.
    fn check(&self) -> Result<(), String> {
        let file = self.file();
        let foreign = |what: &str| Err(format!("--report: {} {what}: it stays as it is", file.display()));
        let kind = match fs::symlink_metadata(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(format!("--report: {}: {error}", file.display())),
            Ok(metadata) => metadata.file_type(),
        };
        if !kind.is_file() {
            return foreign("is no file");
        }
        let mut first = vec![0; FIRST_LINE.len()];
        let read = File::open(&file).and_then(|mut opened| opened.read_exact(&mut first));
        match read {
            Ok(()) if first == FIRST_LINE.as_bytes() => Ok(()),
            _ => foreign("was not written by this program"),
        }
    }

    /// Puts the page there, beginning with [`FIRST_LINE`].
    ///
    /// # Errors
    /// A sentence: it cannot be written, or somebody else's has come there meanwhile.
    pub(crate) fn write(&self, page: &str) -> Result<(), String> {
        debug_assert!(page.starts_with(FIRST_LINE));
        self.check()?;
        let partial = self.0.join(format!(".{NAME}.{}", std::process::id()));
        let told = |error: std::io::Error| format!("--report: {} cannot be written: {error}", self.file().display());
        let mut file = File::options().write(true).create_new(true).open(&partial).map_err(told)?;
        let written = file.write_all(page.as_bytes()).and_then(|()| fs::rename(&partial, self.file()));
        written.map_err(|error| {
            // It is ours, and half a page is no use to anybody.
            let _ = fs::remove_file(&partial);
            told(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("wirefan-loadtest-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_page_of_ours_is_replaced_and_nothing_else() {
        let folder = folder("place");
        let place = Place::prepare(&folder.join("a/b")).unwrap();
        let page = format!("{FIRST_LINE}one");
        place.write(&page).unwrap();
        Place::prepare(&folder.join("a/b")).unwrap().write(&format!("{FIRST_LINE}two")).unwrap();
        assert!(fs::read_to_string(place.file()).unwrap().ends_with("two"));
        assert_eq!(fs::read_dir(folder.join("a/b")).unwrap().count(), 1, "nothing is left beside it");
        for other in ["", "<!doctype html>\n<title>mine</title>"] {
            fs::write(place.file(), other).unwrap();
            let refusal = Place::prepare(&folder.join("a/b")).unwrap_err();
            assert!(refusal.contains("not written by this program"), "{refusal}");
            assert!(place.write(&page).is_err());
            assert_eq!(fs::read_to_string(place.file()).unwrap(), other);
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn links_folders_and_files_in_the_way_are_refused() {
        let folder = folder("links");
        fs::create_dir_all(folder.join("c/index.html")).unwrap();
        assert!(Place::prepare(&folder.join("c")).unwrap_err().contains("is no file"));
        let ours = folder.join("ours.html");
        fs::write(&ours, FIRST_LINE).unwrap();
        fs::create_dir(folder.join("d")).unwrap();
        std::os::unix::fs::symlink(&ours, folder.join("d/index.html")).unwrap();
        assert!(Place::prepare(&folder.join("d")).unwrap_err().contains("is no file"), "not through a link");
        fs::write(folder.join("e"), "").unwrap();
        assert!(Place::prepare(&folder.join("e")).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
