//! Streams towards the caller, and both ways.

use std::pin::Pin;

use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status, Streaming};
use ura_adapters::{Caller, serve::PartsError, serve::ServiceBuilder};

use crate::contract::reading_room_service_server::{ReadingRoomService, ReadingRoomServiceServer};
use crate::contract::{ConsultRequest, ConsultResponse, CopyRequest, CopyResponse, DESCRIPTORS};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

struct ReadingRoom;

#[tonic::async_trait]
impl ReadingRoomService for ReadingRoom {
    type CopyStream = Answers<CopyResponse>;
    type ConsultStream = Answers<ConsultResponse>;

    async fn copy(&self, request: Request<CopyRequest>) -> Result<Response<Self::CopyStream>, Status> {
        let caller = Caller::of(&request)?;
        let copies = request.into_inner().copies;
        if copies > 1000 {
            return Err(caller.refuse(Code::InvalidArgument, "TOO_MANY_COPIES", "At most 1000 copies."));
        }
        let copies = (1..=copies).map(|copy| Ok(CopyResponse { copy }));
        Ok(Response::new(Box::pin(tokio_stream::iter(copies))))
    }

    async fn consult(
        &self,
        request: Request<Streaming<ConsultRequest>>,
    ) -> Result<Response<Self::ConsultStream>, Status> {
        let caller = Caller::of(&request)?;
        let answers = request.into_inner().map(move |asked| {
            let answer = format!("{} asks: {}", caller.consumer(), asked?.question);
            Ok(ConsultResponse { answer })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Adds the reading room to what an adapter serves.
pub fn beside(services: ServiceBuilder) -> Result<ServiceBuilder, PartsError> {
    services.typed(ReadingRoomServiceServer::new(ReadingRoom), DESCRIPTORS, None)
}
