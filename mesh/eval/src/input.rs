//! What a recording is read from.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader},
    path::PathBuf,
};

use crate::ImportError;

/// Bytes read from a file at a time: large enough that system calls do not count.
pub(crate) const READ_BYTES: usize = 256 * 1024;

/// An input as one stream of bytes.
pub(crate) struct Opened {
    pub(crate) stream: Box<dyn BufRead + Send>,
    /// How many bytes there are, if that is known.
    pub(crate) bytes_total: Option<u64>,
}

/// What a recording is read from.
pub enum Input {
    /// A file or a directory.
    Path(PathBuf),
    /// A stream, such as the standard input.
    Stream(Box<dyn BufRead + Send>),
}

impl Input {
    /// Makes an input from a command's argument: a path, or `-` for the standard input.
    #[must_use]
    pub fn from_argument(argument: &str) -> Self {
        if argument == "-" {
            Self::Stream(Box::new(BufReader::with_capacity(READ_BYTES, io::stdin())))
        } else {
            Self::Path(argument.into())
        }
    }

    /// Makes an input from text that is part of the program.
    #[must_use]
    pub fn from_static(text: &'static [u8]) -> Self {
        Self::Stream(Box::new(text))
    }

    /// Opens the input as one stream of bytes.
    pub(crate) fn into_stream(self, format: &'static str) -> Result<Opened, ImportError> {
        let path = match self {
            Self::Stream(stream) => return Ok(Opened { stream, bytes_total: None }),
            Self::Path(path) => path,
        };
        let open = || -> io::Result<(File, std::fs::Metadata)> {
            let file = File::open(&path)?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        let (file, metadata) =
            open().map_err(|error| ImportError::Read { path: path.clone(), error })?;
        if metadata.is_dir() {
            let found = format!("the directory {}", path.display());
            return Err(ImportError::Input { format, wants: "a file or a stream", found });
        }
        // A pipe has no length.
        let bytes_total = metadata.is_file().then_some(metadata.len());
        let stream = Box::new(BufReader::with_capacity(READ_BYTES, file));
        Ok(Opened { stream, bytes_total })
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Stream(_) => f.write_str("a stream"),
        }
    }
}
