//! Sets in pieces.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bitroster_command::CommandError;
use bitroster_proto::public::{ImportBitsRequest, ImportHeader, import_bits_request::Part};
use bitroster_types::limits::{
    GRPC_GATHERED_BYTES_MAX, GRPC_IMPORT_BYTES_PER_SEC_MIN, GRPC_IMPORT_PAUSE_SECS_MAX,
    GRPC_IMPORT_SECS_MIN,
};
use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};

use crate::grpc::{
    args::{self, Args},
    fault,
    gate::within,
};

/// `BM.IMPORT key FORMAT f data MODE m` of all pieces of a stream, and the room that they take.
///
/// # Errors
///
/// Where the pieces do not fit each other or are longer than `bytes_max` together, and where the
/// stream fails, comes too slowly or outlasts its deadline. Nothing was done then.
pub(super) async fn gather(
    mut pieces: Streaming<ImportBitsRequest>,
    bytes_max: usize,
    gathered: &Arc<AtomicUsize>,
    deadline: Option<Instant>,
) -> Result<(Args, Room), Status> {
    let time = Time { began: Instant::now(), deadline };
    let first = time.within(0, pieces.message()).await??;
    let Some(ImportBitsRequest { part: Some(Part::Header(header)) }) = first else {
        return Err(fault::invalid("header", "must come in the first message"));
    };
    let mut set = Gathered::new(&header, bytes_max, gathered)?;
    while let Some(piece) = time.within(set.data.len(), pieces.message()).await?? {
        set.add(piece)?;
    }
    let mode = args::mode(header.mode)?;
    let args = Args::new("BM.IMPORT").bytes(header.key).word("FORMAT").word(set.format);
    Ok((args.bytes(set.data.freeze()).word("MODE").word(mode), set.room))
}

/// How long pieces may take: what has come holds memory.
struct Time {
    began: Instant,
    /// The client's own.
    deadline: Option<Instant>,
}

impl Time {
    /// Waits for the next piece where so many bytes have come: no longer than they have earned, so
    /// that drips end, and no longer than any piece is waited for, so that silence does.
    ///
    /// # Errors
    ///
    /// Where the client's deadline passes, and where pieces come too slowly.
    async fn within<T>(&self, bytes: usize, next: impl Future<Output = T>) -> Result<T, Status> {
        let earned = Duration::from_secs(bytes as u64 / GRPC_IMPORT_BYTES_PER_SEC_MIN);
        let until = self.began + Duration::from_secs(GRPC_IMPORT_SECS_MIN) + earned;
        let until = until.min(Instant::now() + Duration::from_secs(GRPC_IMPORT_PAUSE_SECS_MAX));
        match self.deadline {
            Some(deadline) if deadline <= until => within(Some(deadline), next).await,
            _ => timeout_at(until, next).await.map_err(|_elapsed| fault::slow()),
        }
    }
}

/// What an import takes of the room for all of them, until it is dropped.
pub(super) struct Room {
    gathered: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), Status> {
        self.bytes += bytes;
        if self.gathered.fetch_add(bytes, Relaxed) + bytes > GRPC_GATHERED_BYTES_MAX {
            let text = format!(
                "imports that are being received take more than {GRPC_GATHERED_BYTES_MAX} bytes"
            );
            return Err(Status::resource_exhausted(text));
        }
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.gathered.fetch_sub(self.bytes, Relaxed);
    }
}

/// What has come so far.
struct Gathered {
    /// Whether numbers come, which are kept as lines.
    takes_numbers: bool,
    format: &'static str,
    data: BytesMut,
    bytes_max: usize,
    room: Room,
}

impl Gathered {
    fn new(
        header: &ImportHeader,
        bytes_max: usize,
        gathered: &Arc<AtomicUsize>,
    ) -> Result<Self, Status> {
        let format = args::format(header.format)?;
        args::mode(header.mode)?;
        Ok(Self {
            takes_numbers: format.is_none(),
            format: format.unwrap_or("csv"),
            data: BytesMut::new(),
            bytes_max,
            room: Room { gathered: Arc::clone(gathered), bytes: 0 },
        })
    }

    fn add(&mut self, piece: ImportBitsRequest) -> Result<(), Status> {
        let before = self.data.len();
        self.add_part(piece)?;
        self.room.take(self.data.len() - before)
    }

    fn add_part(&mut self, piece: ImportBitsRequest) -> Result<(), Status> {
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tonic::Code;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pieces_have_the_time_that_their_bytes_have_earned() {
        let began = Instant::now();
        let waits = async |bytes: usize, deadline: Option<u64>| {
            let deadline = deadline.map(|secs| began + Duration::from_secs(secs));
            let status = Time { began, deadline }.within(bytes, pending::<()>()).await;
            (status.unwrap_err().code(), began.elapsed().as_secs())
        };
        assert_eq!(waits(0, Some(7)).await, (Code::DeadlineExceeded, 7));
        assert_eq!(waits(0, None).await, (Code::Aborted, 30));
        // Pieces without bytes earn nothing, however often they come.
        assert_eq!(waits(0, Some(60)).await, (Code::Aborted, 30));
        // Much that has come earns time for more pieces, not for silence.
        assert_eq!(waits(10 << 20, None).await, (Code::Aborted, 60));
        assert_eq!(waits(10 << 20, None).await, (Code::Aborted, 90));
        assert_eq!(waits(10 << 20, Some(500)).await, (Code::Aborted, 110));
        assert_eq!(waits(4 << 30, Some(130)).await, (Code::DeadlineExceeded, 130));
        assert_eq!(waits(4 << 30, None).await, (Code::Aborted, 160));
        let time = Time { began, deadline: None };
        assert_eq!(time.within(40 << 20, async { 7 }).await.unwrap(), 7);
    }
}
