//! Where an export goes: standard output, or a file that has its name only once it is complete.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use tempfile::TempPath;

use super::super::output::end_if_reader_gone;
use super::rows::{Format, Rows};
use crate::fini::Conversation;

pub struct Out {
    rows: Rows<Sink>,
    file: Option<Paths>,
}

struct Paths {
    /// Removed with an export that fails.
    part: TempPath,
    path: PathBuf,
}

pub enum Sink {
    Stdout(BufWriter<std::io::Stdout>),
    File(BufWriter<File>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Stdout(sink) => sink.write(bytes).inspect_err(end_if_reader_gone),
            Self::File(sink) => sink.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Stdout(sink) => sink.flush().inspect_err(end_if_reader_gone),
            Self::File(sink) => sink.flush(),
        }
    }
}

/// A new file that only its owner may read: what customers wrote is for the one who exports it. One that is there
/// already may be readable for others, or a link to elsewhere; `create_new` follows none.
fn create(part: &Path) -> anyhow::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(part).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow!(
            "{} exists already: another export writes it, or one was interrupted. Remove it if nothing writes it, \
             or choose another --out",
            part.display()
        ),
        _ => anyhow::Error::new(error).context(format!("{} can't be written", part.display())),
    })
}

impl Out {
    pub fn open(path: Option<&Path>, format: Format) -> anyhow::Result<Self> {
        let Some(path) = path else {
            let rows = Rows::new(Sink::Stdout(BufWriter::new(std::io::stdout())), format)?;
            return Ok(Self { rows, file: None });
        };
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = create(&part)?;
        let part = TempPath::try_from_path(part)?;
        let rows = Rows::new(Sink::File(BufWriter::new(file)), format)?;
        Ok(Self { rows, file: Some(Paths { part, path: path.to_owned() }) })
    }

    pub fn write(&mut self, conversation: &Conversation) -> anyhow::Result<()> {
        self.rows.write(conversation).with_context(|| self.failed())
    }

    pub fn flush(&mut self) -> anyhow::Result<()> {
        self.rows.flush().with_context(|| self.failed())
    }

    pub fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        let failed = self.failed();
        if let (Sink::File(sink), Some(Paths { part, path })) = (self.rows.into_inner()?, self.file) {
            let file = sink.into_inner().map_err(std::io::IntoInnerError::into_error);
            file.and_then(|file| file.sync_all()).context(failed)?;
            part.persist(&path).with_context(|| format!("{} can't be written", path.display()))?;
        }
        Ok(())
    }

    fn failed(&self) -> String {
        match &self.file {
            Some(Paths { part, .. }) => format!("{} can't be written", part.display()),
            None => "standard output can't be written".to_owned(),
        }
    }
}
