//! Messages with a bound on how many fields they have.
//!
//! A repeated field without content takes two bytes on the wire and many times that in memory, so a
//! bound on a message's bytes alone bounds its memory badly. The fields of a message are counted
//! before anything is made of it.

use std::{any::TypeId, marker::PhantomData};

use bitroster_types::limits::REQUEST_ARGS_MAX;
use bytes::{Buf as _, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::ProstEncoder;

use crate::public::{PipelineRequest, TopKRequest};

/// The tag of a pipeline's command lines.
const COMMANDS: u32 = 1;

/// The tag of the list of candidates of a ranking.
const KEYS: u32 = 4;

/// prost's codec, for messages of at most
/// [`REQUEST_ARGS_MAX`] fields.
#[derive(Debug)]
pub struct BoundedCodec<T, U> {
    types: PhantomData<(T, U)>,
}

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self { types: PhantomData }
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder { message: PhantomData }
    }
}

/// Decodes messages of at most so many fields.
#[derive(Debug)]
pub struct BoundedDecoder<U> {
    message: PhantomData<U>,
}

impl<U: Message + Default + 'static> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // Shares the message's memory.
        let bytes = buf.copy_to_bytes(buf.remaining());
        let unreadable = |error: DecodeError| Status::internal(error.to_string());
        let fields = fields_in(bytes.clone(), repeated_in::<U>()).map_err(unreadable)?;
        if fields > REQUEST_ARGS_MAX {
            return Err(Status::resource_exhausted(format!(
                "a message has more than {REQUEST_ARGS_MAX} fields"
            )));
        }
        U::decode(bytes).map(Some).map_err(unreadable)
    }
}

/// The tag of a message's field whose messages have a repeated field; only these have one.
fn repeated_in<U: 'static>() -> Option<u32> {
    let is = |id: TypeId| TypeId::of::<U>() == id;
    if is(TypeId::of::<PipelineRequest>()) {
        Some(COMMANDS)
    } else if is(TypeId::of::<TopKRequest>()) {
        Some(KEYS)
    } else {
        None
    }
}

/// Counts the fields of a message, and those of its messages at the tag `within`; stops soon after
/// there are too many.
fn fields_in(mut bytes: Bytes, within: Option<u32>) -> Result<usize, DecodeError> {
    let mut fields = 0;
    while bytes.has_remaining() && fields <= REQUEST_ARGS_MAX {
        fields += 1;
        let (tag, wire_type) = decode_key(&mut bytes)?;
        if within != Some(tag) || wire_type != WireType::LengthDelimited {
            skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?;
            continue;
        }
        let len = usize::try_from(decode_varint(&mut bytes)?).unwrap_or(usize::MAX);
        let inner = bytes.split_to(len.min(bytes.len()));
        fields += fields_in(inner, None)?;
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public::{
        CommandLine, DeleteRequest, KeyList, SetBitsRequest, top_k_request::Among,
    };

    #[test]
    fn fields_are_counted_to_where_they_repeat() {
        let delete = DeleteRequest { keys: vec![Bytes::new(); 5] };
        assert_eq!(fields_in(delete.encode_to_vec().into(), None), Ok(5));
        let line = |args: usize| CommandLine { args: vec![Bytes::from_static(b"\x0a\x01"); args] };
        let pipeline = PipelineRequest { commands: vec![line(3), line(0), line(4)] };
        assert_eq!(fields_in(pipeline.encode_to_vec().into(), None), Ok(3));
        assert_eq!(
            fields_in(pipeline.encode_to_vec().into(), repeated_in::<PipelineRequest>()),
            Ok(10)
        );
        let keys = KeyList { keys: vec![Bytes::new(); 7] };
        let (expression, among) = ("a & b".to_owned(), Some(Among::Keys(keys)));
        let top = TopKRequest { expression, among, k: 1, ..TopKRequest::default() };
        let within = repeated_in::<TopKRequest>();
        assert_eq!(fields_in(top.encode_to_vec().into(), within), Ok(10));
        let packed = SetBitsRequest { key: "k".into(), offsets: (0..1000).collect() };
        assert_eq!(fields_in(packed.encode_to_vec().into(), None), Ok(2));
    }

    #[test]
    fn counting_ends_where_there_are_too_many_and_where_bytes_are_wrong() {
        let many = DeleteRequest { keys: vec![Bytes::new(); REQUEST_ARGS_MAX + 100] };
        assert_eq!(fields_in(many.encode_to_vec().into(), None), Ok(REQUEST_ARGS_MAX + 1));
        for wrong in [&b"\x0a\x05ab"[..], b"\x0a", b"\x0b", b"\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert!(fields_in(Bytes::copy_from_slice(wrong), None).is_err(), "{wrong:?}");
        }
    }
}
