//! Secrets in the data folder: made once, and for its owner only.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use tempfile::NamedTempFile;

/// The secret in this file of the data folder, which is made if need be. Without a folder it is a new one.
pub(super) fn kept(
    data: Option<&Path>,
    name: &str,
    generate: impl Fn() -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Vec<u8>> {
    match data {
        None => generate(),
        Some(folder) => in_folder(folder, name, generate)
            .with_context(|| format!("the issuer's key {}", folder.join(name).display())),
    }
}

fn in_folder(
    folder: &Path,
    name: &str,
    generate: impl Fn() -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Vec<u8>> {
    let path = folder.join(name);
    if let Some(secret) = read(&path)? {
        return Ok(secret);
    }
    // Under its name the file is whole or not there, and only its owner may read it, which is how temporary files are
    // made. The command line and a stack may both get here: the first to finish is right.
    let mut file = NamedTempFile::new_in(folder)?;
    let secret = generate()?;
    io::Write::write_all(&mut file, &secret)?;
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(secret),
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
            read(&path)?.context("it was there, and is gone")
        }
        Err(failed) => Err(failed.error.into()),
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(secret) => Ok(Some(secret)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
