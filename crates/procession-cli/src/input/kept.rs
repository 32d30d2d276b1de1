//! Input that can be read only once, kept in the run directory: a run that goes on reads it again from there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use procession_store::Claim;

/// A copy of the input, in a directory that waits for its run.
///
/// If no run begins there, the copy goes with this.
#[derive(Debug)]
pub(crate) struct Kept {
    claim: Option<Claim>,
    path: PathBuf,
    name: String,
}

impl Kept {
    /// Copies all of `input` into the directory, next to whatever is there.
    pub(crate) fn copy(claim: Claim, input: &mut dyn Read) -> io::Result<Kept> {
        let (name, path, mut file) = create(&claim)?;
        let kept = Kept { claim: Some(claim), path, name };
        io::copy(input, &mut file)?;
        file.sync_all()?;
        Ok(kept)
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The directory, for the run that begins now.
    pub(crate) fn take_claim(&mut self) -> Option<Claim> {
        self.claim.take()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.claim.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A new file, for nobody else to read, under the first name that is free.
fn create(claim: &Claim) -> io::Result<(String, PathBuf, File)> {
    let names = ["input", "stdin"].map(str::to_owned).into_iter();
    for name in names.chain((2_u64..).map(|number| format!("stdin-{number}"))) {
        let path = claim.path().join(&name);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return Ok((name, path, made?)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
