//! Where an export goes: standard output, or a file that has its name only once it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::rows::{Format, Rows};
use crate::fini::Conversation;

pub struct Out {
    rows: Rows<Sink>,
    file: Option<Paths>,
}

struct Paths {
    part: PathBuf,
    path: PathBuf,
}

pub enum Sink {
    Stdout(BufWriter<std::io::Stdout>),
    File(BufWriter<File>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Stdout(sink) => sink.write(bytes),
            Self::File(sink) => sink.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Stdout(sink) => sink.flush(),
            Self::File(sink) => sink.flush(),
        }
    }
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
        // What customers wrote is for the one who exports it.
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&part);
        let file = file.with_context(|| format!("{} can't be written", part.display()))?;
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
            fs::rename(&part, &path).with_context(|| format!("{} can't be renamed", part.display()))?;
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
