//! Where the file of a token lies, and which files are named like tokens.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use imgopen_store::AssetToken;

/// The extension of a file's name, as it may be in a token.
pub fn extension(name: &str) -> &str {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    let is_plain = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    extension.filter(is_plain).unwrap_or("bin")
}

/// Returns the names of some files in a directory of pictures that are named like one, at most so many.
pub fn some_names(directory: &Path, most: usize) -> io::Result<Vec<AssetToken>> {
    names(directory)?.take(most).map(|file| Ok(file?.0)).collect()
}

/// Returns the names of the directories in a directory of pictures that the service keeps some in.
pub fn shelves(directory: &Path) -> io::Result<Vec<String>> {
    let mut shelves = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if is_directory_of_some(&entry) {
            shelves.extend(entry.file_name().into_string());
        }
    }
    Ok(shelves)
}

/// Returns the names of files on a shelf that are named like pictures, in their order, from after that one, at most so many.
pub fn page(directory: &Path, shelf: &str, after: Option<&AssetToken>, most: usize) -> io::Result<Vec<AssetToken>> {
    let files = match std::fs::read_dir(directory.join(shelf)) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = BTreeSet::new();
    for file in files {
        let token = file?.file_name().into_string().ok().map(AssetToken);
        names.extend(token.filter(|token| is_token(token) && after.is_none_or(|after| token > after)));
        if names.len() > most {
            names.pop_last();
        }
    }
    Ok(names.into_iter().collect())
}

/// Iterates over the files in a directory of pictures that are named like one, with their paths. Looks only where the service
/// keeps pictures, because others' directories, such as that for lost files of a disk, may not be readable.
pub fn names(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<(AssetToken, PathBuf)>> + use<>> {
    let shelves = std::fs::read_dir(directory)?;
    let shelves = shelves.filter(|entry| entry.as_ref().map_or(true, is_directory_of_some));
    let files = shelves.flat_map(|shelf| match shelf.and_then(|shelf| std::fs::read_dir(shelf.path())) {
        Ok(files) => Box::new(files) as Box<dyn Iterator<Item = io::Result<std::fs::DirEntry>>>,
        Err(error) => Box::new(std::iter::once(Err(error))),
    });
    Ok(files.filter_map(|file| match file {
        Ok(file) => {
            let token = AssetToken(file.file_name().into_string().ok()?);
            is_token(&token).then(|| Ok((token, file.path())))
        }
        Err(error) => Some(Err(error)),
    }))
}

/// Whether an entry is a directory that the service keeps pictures in.
fn is_directory_of_some(entry: &std::fs::DirEntry) -> bool {
    entry.file_name().to_str().is_some_and(is_shelf) && entry.path().is_dir()
}

/// Whether a name is that of a directory of tokens.
pub fn is_shelf(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a token has the form of those that the service makes: at least 32 hexadecimal digits and an extension.
pub fn is_token(token: &AssetToken) -> bool {
    token.as_str().split_once('.').is_some_and(|(id, extension)| {
        let is_id = id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id && !extension.is_empty() && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Returns the path of a picture in a directory of pictures.
pub fn path(directory: &Path, token: &AssetToken) -> PathBuf {
    directory.join(shelf(token.as_str())).join(token.as_str())
}

/// The directory of a token, or of all tokens of a run.
pub fn shelf(name: &str) -> &str {
    name.get(..2).unwrap_or("_")
}
