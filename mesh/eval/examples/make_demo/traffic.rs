//! Customers: spans, and the log lines beside them.

use tapio_model::{Class, Kind, Severity, Source, SpanId, TraceId, keys};

use super::{
    cast::{CART_NEW, CART_OLD, CATALOG, CHECKOUT, FRONTEND, PAYMENTS_ADDRESS, PAYMENTS_PORT, Pod},
    incident::{self, payments_at},
    noise,
    script::{Draft, Script},
};

/// When the last customer comes.
const LAST_US: i64 = 238_000_000;

/// What checkout says when nobody listens at payments.
const REFUSED: &str = "rpc error: code = Unavailable desc = connection error: desc = \"transport: \
                       Error while dialing: dial tcp 10.43.118.52:8443: connect: connection \
                       refused\"";

/// What checkout says when payments dies under a call.
const CUT: &str = "rpc error: code = Unavailable desc = error reading from server: read tcp \
                   10.42.1.21:41872->10.43.118.52:8443: read: connection reset by peer";

pub(crate) fn play(script: &mut Script) {
    let mut at = 400_000;
    while at < LAST_US {
        match script.between(0, 99) {
            0..45 => browse(script, at),
            45..65 => look_into_cart(script, at),
            _ => check_out(script, at),
        }
        // Who cannot pay tries again.
        let is_down = payments_at(at).is_none();
        at += if is_down {
            script.between(500_000, 1_100_000)
        } else {
            script.between(1_000_000, 3_100_000)
        };
    }
    // Two whose payment is under way when payments dies.
    for kill in incident::KILLS_US {
        check_out(script, kill - 190_000);
    }
}

/// One call of one service.
#[derive(Debug, Clone, Copy)]
struct Call<'a> {
    pod: &'a Pod,
    kind: &'static str,
    name: &'static str,
    from: i64,
    to: i64,
    /// Who is called.
    peer: Option<&'static str>,
    /// What went wrong.
    error: Option<&'static str>,
}

impl<'a> Call<'a> {
    const fn served(pod: &'a Pod, name: &'static str, from: i64, to: i64) -> Self {
        Self { pod, kind: "server", name, from, to, peer: None, error: None }
    }

    const fn to(pod: &'a Pod, peer: &'static str, name: &'static str, from: i64, to: i64) -> Self {
        Self { pod, kind: "client", name, from, to, peer: Some(peer), error: None }
    }

    const fn failed(self, error: Option<&'static str>) -> Self {
        Self { error, ..self }
    }
}

/// A trace as it grows.
#[derive(Debug, Clone, Copy)]
struct Trace {
    id: TraceId,
    parent: Option<SpanId>,
}

impl Trace {
    fn begin(script: &mut Script) -> Self {
        Self { id: script.trace_id(), parent: None }
    }

    /// Writes a span, and returns the trace with that span as the caller of what follows.
    fn span(self, script: &mut Script, call: Call<'_>) -> Self {
        let id = script.span_id();
        let is_http = self.parent.is_none();
        let (severity, impact, class) = match (call.error, call.kind) {
            (None, _) => (Severity::Info, 0.0, Class::Other),
            (Some(_), "client") => (Severity::Error, 0.4, Class::Dependency),
            (Some(_), _) => (Severity::Error, 0.6, Class::Application),
        };
        let mut span = Draft::new(call.to, Source::Otlp, Kind::Span, &call.pod.place())
            .rated(severity, impact, class)
            .traced(self.id, id)
            .called_by(self.parent)
            .with(keys::SPAN_NAME, call.name)
            .with(keys::SPAN_KIND, call.kind)
            .with(keys::SPAN_STATUS, if call.error.is_some() { "error" } else { "unset" })
            .with(keys::DURATION, (call.to - call.from) * 1_000);
        if is_http {
            span = span.with(keys::HTTP_STATUS, if call.error.is_some() { 503 } else { 200 });
        }
        if let Some(peer) = call.peer {
            span = span.with(keys::PEER_SERVICE, peer);
        }
        if call.peer == Some("payments") {
            span = span
                .with(keys::PEER_ADDRESS, PAYMENTS_ADDRESS)
                .with(keys::PEER_PORT, PAYMENTS_PORT);
        }
        if let Some(error) = call.error {
            span = span.with(keys::ERROR_TYPE, "UNAVAILABLE").message(error);
        }
        script.add(span);
        Self { parent: Some(id), ..self }
    }

    fn log(self, script: &mut Script, pod: &Pod, at: i64, text: String) {
        let line = Draft::new(at, Source::App, Kind::Log, &pod.container()).message(text);
        script.add(self.tie(line));
    }

    fn tie(self, line: Draft) -> Draft {
        match self.parent {
            Some(span) => line.traced(self.id, span),
            None => line,
        }
    }
}

fn browse(script: &mut Script, at: i64) {
    let work = script.between(3_000, 14_000);
    let product = script.between(8_000, 8_999);
    let trace = Trace::begin(script);
    let end = at + work + 6_000;
    let root = trace.span(script, Call::served(&FRONTEND, "GET /products/{id}", at, end));
    let client = root.span(
        script,
        Call::to(&FRONTEND, "catalog", "shop.Catalog/GetProduct", at + 1_500, end - 1_200),
    );
    let served = client.span(
        script,
        Call::served(&CATALOG, "shop.Catalog/GetProduct", at + 2_100, at + 2_100 + work),
    );
    if script.between(0, 3) == 0 {
        let text = format!("level=info msg=\"product served\" product={product} source=cache");
        served.log(script, &CATALOG, at + 2_000 + work, text);
    }
}

/// Returns the pod of cart that serves at this time: the rollout replaces it.
const fn cart_at(at: i64) -> &'static Pod {
    if at < noise::CART_SWITCHED_US { &CART_OLD } else { &CART_NEW }
}

fn look_into_cart(script: &mut Script, at: i64) {
    let work = script.between(1_500, 6_000);
    let trace = Trace::begin(script);
    let end = at + work + 5_000;
    let root = trace.span(script, Call::served(&FRONTEND, "GET /cart", at, end));
    let _served = call_cart(script, root, &FRONTEND, at + 1_200, work);
    if script.between(0, 4) == 0 {
        let text = format!("level=info msg=\"cart shown\" items={}", script.between(1, 7));
        root.log(script, &FRONTEND, end - 300, text);
    }
}

fn call_cart(script: &mut Script, trace: Trace, from: &Pod, at: i64, work: i64) -> Trace {
    let name = "shop.Cart/GetCart";
    let client = trace.span(script, Call::to(from, "cart", name, at, at + work + 1_400));
    client.span(script, Call::served(cart_at(at), name, at + 600, at + 600 + work))
}

fn check_out(script: &mut Script, at: i64) {
    let order = script.between(100_000, 999_999);
    let cart = script.between(1_500, 5_000);
    let charge = script.between(90_000, 260_000);
    let pay_at = at + 9_000 + cart;
    let (paid_at, error) = payment(pay_at, charge);
    let trace = Trace::begin(script);
    let root = trace
        .span(script, Call::served(&FRONTEND, "POST /checkout", at, paid_at + 9_000).failed(error));
    let client = root.span(
        script,
        Call::to(&FRONTEND, "checkout", "shop.Checkout/PlaceOrder", at + 2_000, paid_at + 7_000)
            .failed(error),
    );
    let served = client.span(
        script,
        Call::served(&CHECKOUT, "shop.Checkout/PlaceOrder", at + 2_700, paid_at + 6_000)
            .failed(error),
    );
    call_cart(script, served, &CHECKOUT, at + 3_400, cart);
    let paying = served.span(
        script,
        Call::to(&CHECKOUT, "payments", "shop.Payments/Charge", pay_at, paid_at).failed(error),
    );
    match error {
        None => charged(script, [served, paying], order, (pay_at, paid_at)),
        Some(error) => unpaid(script, [root, served], order, (paid_at, error)),
    }
}

/// Says when a payment ends that begins at `at`, and what goes wrong.
fn payment(at: i64, charge: i64) -> (i64, Option<&'static str>) {
    let cut = incident::KILLS_US.into_iter().find(|kill| (at..at + charge).contains(kill));
    match (payments_at(at), cut) {
        (None, _) => (at + 2_600, Some(REFUSED)),
        (Some(_), Some(kill)) => (kill + 3_000, Some(CUT)),
        (Some(_), None) => (at + charge, None),
    }
}

fn charged(script: &mut Script, [served, paying]: [Trace; 2], order: i64, (at, end): (i64, i64)) {
    let Some(payments) = payments_at(at) else { return };
    let payment =
        paying.span(script, Call::served(payments, "shop.Payments/Charge", at + 900, end - 1_100));
    payment.log(
        script,
        payments,
        end - 1_500,
        format!("level=info msg=\"charge accepted\" order={order}"),
    );
    served.log(
        script,
        &CHECKOUT,
        end + 5_000,
        format!("level=info msg=\"order placed\" order={order}"),
    );
}

fn unpaid(script: &mut Script, [root, served]: [Trace; 2], order: i64, (at, error): (i64, &str)) {
    let line = Draft::new(at + 400, Source::App, Kind::Log, &CHECKOUT.container())
        .rated(Severity::Error, 0.4, Class::Application)
        .with(keys::LOGGER, "checkout/payment.go:118")
        .message(format!("level=error msg=\"charge refused\" order={order} err={error:?}"));
    script.add(served.tie(line));
    if error == REFUSED {
        script.add(incident::refused(at - 300));
    }
    let text = "com.shop.frontend.CheckoutFailedException: PlaceOrder: UNAVAILABLE";
    let thrown = Draft::new(at + 8_200, Source::App, Kind::Exception, &FRONTEND.container())
        .rated(Severity::Error, 0.5, Class::Application)
        .with(keys::ERROR_TYPE, "com.shop.frontend.CheckoutFailedException")
        .with(keys::LOGGER, "c.s.f.CheckoutController")
        .with(
            keys::STACKTRACE,
            "com.shop.frontend.CheckoutFailedException: PlaceOrder: UNAVAILABLE\n\tat \
             com.shop.frontend.CheckoutController.post(CheckoutController.java:74)\nCaused by: \
             io.grpc.StatusRuntimeException: UNAVAILABLE\n\tat \
             io.grpc.stub.ClientCalls.toStatusRuntimeException(ClientCalls.java:268)",
        )
        .message(text);
    script.add(root.tie(thrown));
}
