//! The service `Ids`.

use bitroster_proto::public::{
    AssignRequest, AssignResponse, FindRequest, FindResponse, FoundId, FoundName, NamesRequest,
    NamesResponse, ids_server::Ids,
};
use tonic::{Request, Status};

use super::{Outcome, answer::Answer, args::Args, gate::Gate};

/// Numbers for names.
pub(super) struct IdsService(pub(super) Gate);

#[tonic::async_trait]
impl Ids for IdsService {
    async fn assign(&self, request: Request<AssignRequest>) -> Outcome<AssignResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("BM.ID").bytes(asked.space).all("names", asked.names)?;
        let ids = call.ask(args).await?.counts()?;
        Ok(call.respond(AssignResponse { ids }))
    }

    async fn find(&self, request: Request<FindRequest>) -> Outcome<FindResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("BM.FIND").bytes(asked.space).all("names", asked.names)?;
        let found = |item: Answer| {
            let id = if item.is_nil() { None } else { Some(item.count()?) };
            Ok(FoundId { id })
        };
        let found = call.ask(args).await?.items()?.into_iter().map(found);
        let found = found.collect::<Result<_, Status>>()?;
        Ok(call.respond(FindResponse { found }))
    }

    async fn names(&self, request: Request<NamesRequest>) -> Outcome<NamesResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("BM.NAME").bytes(asked.space).numbers(&asked.ids)?;
        let found = |item: Answer| Ok(FoundName { name: item.bytes()? });
        let found = call.ask(args).await?.items()?.into_iter().map(found);
        let found = found.collect::<Result<_, Status>>()?;
        Ok(call.respond(NamesResponse { found }))
    }
}
