//! The service `Keys`.

use bitroster_proto::public::{
    CopyRequest, CopyResponse, DeleteRequest, DeleteResponse, ExistsRequest, ExistsResponse,
    ExpireCondition, ExpireRequest, ExpireResponse, GetRequest, GetResponse, RenameRequest,
    RenameResponse, ScanRequest, ScanResponse, SetCondition, SetRequest, SetResponse, TtlRequest,
    TtlResponse, expire_request, keys_server::Keys, set_request,
};
use bitroster_types::limits::GRPC_SCAN_KEYS_DEFAULT;
use tonic::{Request, Response, Status};

use super::{Outcome, Pages, args::Args, fault, gate::Gate, pages};

/// Keys and whole values.
pub(super) struct KeysService(pub(super) Gate);

#[tonic::async_trait]
impl Keys for KeysService {
    async fn get(&self, request: Request<GetRequest>) -> Outcome<GetResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let value = call.ask(Args::new("GET").bytes(asked.key)).await?.bytes()?;
        Ok(call.respond(GetResponse { value }))
    }

    async fn set(&self, request: Request<SetRequest>) -> Outcome<SetResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let written = call.ask(set_args(asked)?).await?.done()?;
        Ok(call.respond(SetResponse { written }))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Outcome<DeleteResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let deleted = call.ask(Args::new("DEL").all("keys", asked.keys)?).await?.count()?;
        Ok(call.respond(DeleteResponse { deleted }))
    }

    async fn exists(&self, request: Request<ExistsRequest>) -> Outcome<ExistsResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let count = call.ask(Args::new("EXISTS").all("keys", asked.keys)?).await?.count()?;
        Ok(call.respond(ExistsResponse { count }))
    }

    async fn expire(&self, request: Request<ExpireRequest>) -> Outcome<ExpireResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let changed = call.ask(expire_args(asked)?).await?.flag()?;
        Ok(call.respond(ExpireResponse { changed }))
    }

    async fn ttl(&self, request: Request<TtlRequest>) -> Outcome<TtlResponse> {
        let (mut call, asked) = self.0.open(request)?;
        // -1 says that there is no expiry, -2 that there is no key.
        let left = call.ask(Args::new("PTTL").bytes(asked.key)).await?.integer()?;
        let response = TtlResponse { exists: left != -2, ttl_ms: u64::try_from(left).ok() };
        Ok(call.respond(response))
    }

    async fn rename(&self, request: Request<RenameRequest>) -> Outcome<RenameResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let name = if asked.only_if_absent { "RENAMENX" } else { "RENAME" };
        let args = Args::new(name).bytes(asked.source).bytes(asked.target);
        let answer = call.ask(args).await?;
        let renamed = if asked.only_if_absent { answer.flag()? } else { answer.done()? };
        Ok(call.respond(RenameResponse { renamed }))
    }

    async fn copy(&self, request: Request<CopyRequest>) -> Outcome<CopyResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("COPY").bytes(asked.source).bytes(asked.target);
        let copied = call.ask(args.word_if(asked.replace, "REPLACE")).await?.flag()?;
        Ok(call.respond(CopyResponse { copied }))
    }

    type ScanStream = Pages<ScanResponse>;

    async fn scan(&self, request: Request<ScanRequest>) -> Outcome<Self::ScanStream> {
        let (call, asked) = self.0.open(request)?;
        let ScanRequest { r#match, cursor, page } = asked;
        let count = if page == 0 { GRPC_SCAN_KEYS_DEFAULT } else { page };
        let args = move |cursor| {
            let args = Args::new("SCAN").number(cursor);
            args.named("MATCH", r#match.clone()).option("COUNT", Some(count))
        };
        let make = |next_cursor, keys| ScanResponse { keys, next_cursor };
        Ok(Response::new(pages::names(call, cursor, args, make)))
    }
}

fn set_args(asked: SetRequest) -> Result<Args, Status> {
    let args = Args::new("SET").bytes(asked.key).bytes(asked.value);
    let args = match SetCondition::try_from(asked.condition) {
        Ok(SetCondition::Unspecified) => args,
        Ok(SetCondition::IfAbsent) => args.word("NX"),
        Ok(SetCondition::IfPresent) => args.word("XX"),
        Err(_) => return Err(fault::invalid("condition", "must be one of those that there are")),
    };
    Ok(match asked.expiry {
        None => args,
        Some(set_request::Expiry::TtlMs(millis)) => args.option("PX", Some(millis)),
        Some(set_request::Expiry::ExpireAtMs(millis)) => args.option("PXAT", Some(millis)),
        Some(set_request::Expiry::KeepTtl(keep)) => args.word_if(keep, "KEEPTTL"),
    })
}

fn expire_args(asked: ExpireRequest) -> Result<Args, Status> {
    let args = match asked.expiry {
        Some(expire_request::Expiry::TtlMs(millis)) => {
            Args::new("PEXPIRE").bytes(asked.key).number(millis)
        }
        Some(expire_request::Expiry::ExpireAtMs(millis)) => {
            Args::new("PEXPIREAT").bytes(asked.key).number(millis)
        }
        Some(expire_request::Expiry::Persist(true)) => {
            return Ok(Args::new("PERSIST").bytes(asked.key));
        }
        Some(expire_request::Expiry::Persist(false)) | None => {
            return Err(fault::invalid("expiry", "must be said"));
        }
    };
    match ExpireCondition::try_from(asked.condition) {
        Ok(ExpireCondition::Unspecified) => Ok(args),
        Ok(ExpireCondition::IfNone) => Ok(args.word("NX")),
        Ok(ExpireCondition::IfSome) => Ok(args.word("XX")),
        Ok(ExpireCondition::IfLater) => Ok(args.word("GT")),
        Ok(ExpireCondition::IfEarlier) => Ok(args.word("LT")),
        Err(_) => Err(fault::invalid("condition", "must be one of those that there are")),
    }
}
