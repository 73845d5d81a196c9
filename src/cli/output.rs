//! What commands print. A reader that has gone ends the command quietly, as it ends any other tool in a pipe.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// What a shell reports for a tool that ended by SIGPIPE. Not 0: a check whose result nobody read has not passed.
const READER_GONE: i32 = 141;

/// To standard output. Does not return once nobody reads it.
pub fn out(text: Arguments<'_>) {
    if let Err(error) = io::stdout().lock().write_fmt(text) {
        end_if_reader_gone(&error);
        err(format_args!("error: standard output can't be written: {error}\n"));
        std::process::exit(1);
    }
}

/// To standard error. The command goes on without it: its exit code still tells how it ended.
pub fn err(text: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// For those that write to standard output by themselves.
pub fn end_if_reader_gone(error: &io::Error) {
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(READER_GONE);
    }
}
