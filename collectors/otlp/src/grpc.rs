//! OTLP over gRPC.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use axum::{
    extract::{Request as HttpRequest, State},
    middleware::{Next, from_fn_with_state},
    response::Response as HttpResponse,
};
use opentelemetry_proto::tonic::collector::{
    logs::v1::{
        ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
        logs_service_server::{LogsService, LogsServiceServer},
    },
    trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use tokio::net::TcpListener;
use tonic::{
    Code, Request, Response, Status,
    codec::CompressionEncoding::Gzip,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

use crate::{
    intake::{Intake, Rejected},
    refusal::Refusal,
};

#[derive(Debug, Clone)]
struct Traces(Arc<Intake>);

#[derive(Debug, Clone)]
struct Logs(Arc<Intake>);

/// Serves until `stopped`, and then until the open requests are done.
///
/// # Errors
/// Whatever ends the server before that.
pub(crate) async fn serve(
    listener: TcpListener,
    intake: Arc<Intake>,
    stopped: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .add_routes(routes(intake))
        .serve_with_incoming_shutdown(incoming, stopped)
        .await
}

fn routes(intake: Arc<Intake>) -> Routes {
    let bytes_max = intake.limits().request_bytes_max;
    let traces = TraceServiceServer::new(Traces(Arc::clone(&intake)))
        .accept_compressed(Gzip)
        .max_decoding_message_size(bytes_max);
    let logs = LogsServiceServer::new(Logs(Arc::clone(&intake)))
        .accept_compressed(Gzip)
        .max_decoding_message_size(bytes_max);
    let router = Routes::new(traces).add_service(logs).into_axum_router();
    Routes::from(router.layer(from_fn_with_state(intake, guard)))
}

/// Bounds the request, and restates what tonic says of bytes that never reach the services.
async fn guard(
    State(intake): State<Arc<Intake>>,
    request: HttpRequest,
    next: Next,
) -> HttpResponse {
    let response = match intake.admit(next.run(request)).await {
        Ok(response) => response,
        Err(refusal) => return Status::from(refusal).into_http(),
    };
    let bytes_max = intake.limits().request_bytes_max;
    let Some(refusal) = restate(Status::from_header_map(response.headers()), bytes_max) else {
        return response;
    };
    intake.count(&refusal);
    Status::from(refusal).into_http()
}

/// Restates a status of tonic's own. It answers `OUT_OF_RANGE` to a message over the limit, which
/// OTLP exporters send again for ever, and `INTERNAL` to bytes that are no message.
///
/// # Source
/// <https://opentelemetry.io/docs/specs/otlp/#failures>
fn restate(status: Option<Status>, bytes_max: usize) -> Option<Refusal> {
    let status = status?;
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => Some(Refusal::TooLarge { bytes_max }),
        Code::Internal => Some(Refusal::malformed(status.message())),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unimplemented
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => None,
    }
}

#[async_trait]
impl TraceService for Traces {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let rejected = self.0.take_traces(request.into_inner()).await?;
        Ok(Response::new(traces_response(&rejected)))
    }
}

#[async_trait]
impl LogsService for Logs {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let rejected = self.0.take_logs(request.into_inner()).await?;
        Ok(Response::new(logs_response(&rejected)))
    }
}

/// Returns the answer to a request for traces.
pub(crate) fn traces_response(rejected: &Rejected) -> ExportTraceServiceResponse {
    let partial_success = rejected.message().map(|error_message| ExportTracePartialSuccess {
        rejected_spans: rejected.records(),
        error_message,
    });
    ExportTraceServiceResponse { partial_success }
}

/// Returns the answer to a request for logs.
pub(crate) fn logs_response(rejected: &Rejected) -> ExportLogsServiceResponse {
    let partial_success = rejected.message().map(|error_message| ExportLogsPartialSuccess {
        rejected_log_records: rejected.records(),
        error_message,
    });
    ExportLogsServiceResponse { partial_success }
}
