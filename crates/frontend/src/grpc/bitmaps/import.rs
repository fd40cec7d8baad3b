//! Sets in pieces.

use std::fmt::Write as _;

use bitroster_command::CommandError;
use bitroster_proto::public::{ImportBitsRequest, ImportHeader, import_bits_request::Part};
use bytes::{Bytes, BytesMut};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::grpc::{
    args::{self, Args},
    fault,
    gate::within,
};

/// `BM.IMPORT key FORMAT f data MODE m` of all pieces of a stream.
///
/// # Errors
///
/// Where the pieces do not fit each other or are longer than `bytes_max` together, and where the
/// stream fails or outlasts its deadline. Nothing was done then.
pub(super) async fn gather(
    mut pieces: Streaming<ImportBitsRequest>,
    bytes_max: usize,
    deadline: Option<Instant>,
) -> Result<Args, Status> {
    let first = within(deadline, pieces.message()).await??;
    let Some(ImportBitsRequest { part: Some(Part::Header(header)) }) = first else {
        return Err(fault::invalid("header", "must come in the first message"));
    };
    let mut set = Gathered::new(&header, bytes_max)?;
    while let Some(piece) = within(deadline, pieces.message()).await?? {
        set.add(piece)?;
    }
    let mode = args::mode(header.mode)?;
    let args = Args::new("BM.IMPORT").bytes(header.key).word("FORMAT").word(set.format);
    Ok(args.bytes(set.data.freeze()).word("MODE").word(mode))
}

/// What has come so far.
struct Gathered {
    /// Whether numbers come, which are kept as lines.
    takes_numbers: bool,
    format: &'static str,
    data: BytesMut,
    bytes_max: usize,
}

impl Gathered {
    fn new(header: &ImportHeader, bytes_max: usize) -> Result<Self, Status> {
        let format = args::format(header.format)?;
        args::mode(header.mode)?;
        Ok(Self {
            takes_numbers: format.is_none(),
            format: format.unwrap_or("csv"),
            data: BytesMut::new(),
            bytes_max,
        })
    }

    fn add(&mut self, piece: ImportBitsRequest) -> Result<(), Status> {
        match piece.part {
            Some(Part::Data(data)) if !self.takes_numbers => self.add_bytes(&data),
            Some(Part::Offsets(list)) if self.takes_numbers => self.add_numbers(&list.offsets),
            Some(Part::Data(_)) => Err(fault::invalid("data", "needs a format in the header")),
            Some(Part::Offsets(_)) => Err(fault::invalid("offsets", "exclude a format")),
            Some(Part::Header(_)) => Err(fault::invalid("header", "comes once")),
            None => Ok(()),
        }
    }

    fn add_bytes(&mut self, data: &Bytes) -> Result<(), Status> {
        if data.len() > self.bytes_max.saturating_sub(self.data.len()) {
            return Err(fault::status_of(&CommandError::VALUE_LENGTH));
        }
        self.data.extend_from_slice(data);
        Ok(())
    }

    fn add_numbers(&mut self, offsets: &[u64]) -> Result<(), Status> {
        for offset in offsets {
            if self.data.len() >= self.bytes_max {
                return Err(fault::status_of(&CommandError::VALUE_LENGTH));
            }
            writeln!(self.data, "{offset}").expect("a buffer that grows takes everything");
        }
        Ok(())
    }
}
