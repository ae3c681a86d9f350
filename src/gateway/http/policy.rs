//! The table of everything that can be asked over HTTP: method, address, and what one must be allowed for it.
//!
//! It is the only place that says so. A route that is registered but not here is refused to everybody; what is here is
//! also what the description of the interface ([`super::openapi`]) is made of.

use super::assets;
use actix_web::http::Method;
use alidade_accounts::Permission as P;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Everybody may, also who has not said who they are.
    Nothing,
    One(P),
    /// Any of these; the handler looks closer.
    AnyOf(&'static [P]),
}

/// One way to use one address.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub method: &'static str,
    /// As it is registered, `{id}` for a part of any text.
    pub path: &'static str,
    pub needs: Needs,
    /// Group in the description.
    pub tag: &'static str,
    pub summary: &'static str,
}

const fn route(
    method: &'static str,
    path: &'static str,
    needs: Needs,
    tag: &'static str,
    summary: &'static str,
) -> Route {
    Route {
        method,
        path,
        needs,
        tag,
        summary,
    }
}

const DATA: Needs = Needs::AnyOf(&[P::ReadOwnData, P::ReadAllData]);
const COMMANDS: Needs = Needs::AnyOf(&[P::Operate, P::Override, P::Devices]);

/// Every route but the embedded files, which everybody may read.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    route("GET", "/api/v1/status", Needs::One(P::Read), "state", "What the observatory does, why, until when, and what comes next"),
    route("GET", "/api/v1/health", Needs::Nothing, "state", "Whether the daemon publishes"),
    route("GET", "/api/v1/journal", Needs::One(P::Read), "state", "Journal entries, oldest first"),
    route("GET", "/api/v1/events", Needs::One(P::Read), "state", "State and journal as server-sent events"),
    route("GET", "/metrics", Needs::One(P::Read), "state", "Counters and latencies for Prometheus"),
    route("GET", "/status", Needs::One(P::Read), "state", "The state as a page without scripts"),
    route("GET", "/status/confirm", Needs::Nothing, "state", "Asks again before a command"),
    // Who may, the handler finds out: the token may stand in the form.
    route("POST", "/status/command", Needs::Nothing, "commands", "A command from the page without scripts"),
    route("GET", "/api/v1/alerts", Needs::One(P::Read), "alerts", "The newest alert events and how long each stage takes"),
    route("GET", "/api/v1/alerts/{event}", Needs::One(P::Read), "alerts", "One alert event"),
    route("GET", "/api/v1/strategies", Needs::One(P::Read), "alerts", "The strategies that hold, and their changes"),
    route("GET", "/api/v1/strategies/{name}", Needs::One(P::Read), "alerts", "One strategy"),
    route("PUT", "/api/v1/strategies/{name}", Needs::One(P::ChangeStrategies), "alerts", "Changes a strategy, or makes a new one"),
    route("POST", "/api/v1/strategies/dry-run", Needs::One(P::ChangeStrategies), "alerts", "What a strategy would have made of past alerts"),
    route("POST", "/api/v1/packets", Needs::One(P::SendPackets), "alerts", "An alert packet by hand"),
    route("GET", "/api/v1/products/{path:.*}", Needs::One(P::Read), "data", "A preview; frames and catalogues for those whose data they are"),
    route("POST", "/api/v1/commands", COMMANDS, "commands", "A command"),
    route("POST", "/api/v1/alarms/{id}/acknowledge", Needs::One(P::Operate), "commands", "Takes note of an alarm"),
    route("GET", "/api/v1/requests", Needs::One(P::Submit), "requests", "Observing requests: one's own, or everybody's"),
    route("POST", "/api/v1/requests", Needs::One(P::Submit), "requests", "Submits an observing request"),
    route("GET", "/api/v1/requests/{id}", Needs::One(P::Submit), "requests", "One request with the state of its sequences"),
    route("GET", "/api/v1/quotas", Needs::One(P::Submit), "requests", "The standing of one's own quota, or of everybody's"),
    route("GET", "/api/v1/quotas/{account}", Needs::One(P::Submit), "requests", "Every posting of an account's quota"),
    route("POST", "/api/v1/quotas/{account}", Needs::One(P::ManageAccounts), "requests", "Grants observing time"),
    route("GET", "/api/v1/schedules", Needs::One(P::Read), "nights", "The schedules that were made, the newest first"),
    route("GET", "/api/v1/schedules/{id}", Needs::One(P::Read), "nights", "One schedule: places, and why others have none"),
    route("GET", "/api/v1/sequences/{id}", Needs::One(P::Submit), "requests", "Where a sequence stands, and why"),
    route("GET", "/api/v1/sequences/{id}/why", Needs::One(P::Read), "requests", "Why a sequence has no place tonight"),
    route("POST", "/api/v1/sequences/{id}/cancel", Needs::One(P::Submit), "requests", "Cancels a sequence"),
    route("POST", "/api/v1/sequences/{id}/redo", Needs::One(P::Submit), "requests", "Refunds bad data and observes again"),
    route("GET", "/api/v1/pipelines", Needs::One(P::Read), "pipelines", "What can be run"),
    route("GET", "/api/v1/runs", Needs::One(P::Read), "pipelines", "Runs, newest first"),
    route("POST", "/api/v1/runs", Needs::One(P::RunPipelines), "pipelines", "Starts a run"),
    route("GET", "/api/v1/runs/{id}", Needs::One(P::Read), "pipelines", "One run with its attempts and products"),
    route("GET", "/api/v1/runs/{id}/log", Needs::One(P::Read), "pipelines", "Lines of a run's log"),
    route("GET", "/api/v1/runs/{id}/log/stream", Needs::One(P::Read), "pipelines", "A run's log as server-sent events"),
    route("POST", "/api/v1/runs/{id}/cancel", Needs::One(P::RunPipelines), "pipelines", "Cancels a run"),
    route("GET", "/api/v1/data", Needs::One(P::Read), "delivery", "Units, reports, deliveries, documents, metadata, unread messages"),
    route("GET", "/api/v1/data/events", Needs::One(P::Read), "delivery", "Says when there is something new, as server-sent events"),
    route("GET", "/api/v1/data/history", Needs::One(P::Read), "delivery", "Every change of a unit"),
    route("GET", "/api/v1/data/report", Needs::One(P::Read), "delivery", "The newest pipeline report of a unit"),
    route("GET", "/api/v1/data/prov", Needs::One(P::Read), "delivery", "The provenance of a unit (PROV-JSON)"),
    route("GET", "/api/v1/data/scs", Needs::One(P::Read), "delivery", "Cone search in the products (VOTable)"),
    route("GET", "/api/v1/data/sia2/query", Needs::One(P::Read), "delivery", "Products by position, time and band (VOTable)"),
    route("GET", "/api/v1/data/obscore", Needs::One(P::Read), "delivery", "Every product (ObsCore, VOTable)"),
    route("GET", "/api/v1/data/links", Needs::One(P::Read), "delivery", "What belongs to a product (DataLink)"),
    route("POST", "/api/v1/data/review", Needs::One(P::Review), "delivery", "A verdict on a unit"),
    route("GET", "/api/v1/data/archive/{name:.*}", Needs::One(P::ReadAllData), "delivery", "A document of the archive"),
    route("GET", "/weblogs/{path:.*}", Needs::One(P::ReadAllData), "delivery", "What a pipeline wrote about its run"),
    route("OPTIONS", "/api/v1/uploads", Needs::Nothing, "packages", "What of tus 1.0.0 is spoken here"),
    route("POST", "/api/v1/uploads", Needs::One(P::RunPipelines), "packages", "Begins a resumable upload (tus 1.0.0)"),
    route("GET", "/api/v1/uploads/{id}", Needs::One(P::RunPipelines), "packages", "How far an upload has come (HEAD, tus 1.0.0)"),
    route("OPTIONS", "/api/v1/uploads/{id}", Needs::Nothing, "packages", "What of tus 1.0.0 is spoken here"),
    route("POST", "/api/v1/uploads/{id}", Needs::One(P::RunPipelines), "packages", "Another method by X-HTTP-Method-Override (tus 1.0.0)"),
    route("PATCH", "/api/v1/uploads/{id}", Needs::One(P::RunPipelines), "packages", "Goes on with an upload (tus 1.0.0)"),
    route("DELETE", "/api/v1/uploads/{id}", Needs::One(P::RunPipelines), "packages", "Ends an upload (tus 1.0.0)"),
    route("GET", "/api/v1/packages", Needs::One(P::Read), "packages", "The packages that are installed here"),
    route("GET", "/api/v1/packages/{id}", Needs::One(P::Read), "packages", "One package"),
    route("DELETE", "/api/v1/packages/{id}", Needs::One(P::InstallPackages), "packages", "Removes a package"),
    route("POST", "/api/v1/packages/{id}/install", Needs::One(P::InstallPackages), "packages", "Installs a package again"),
    route("GET", "/api/v1/packages/{id}/form", Needs::One(P::Read), "packages", "The form of a run"),
    route("GET", "/api/v1/packages/{id}/files/{name}", Needs::One(P::Read), "packages", "Icon, help and other documents of a package"),
    route("POST", "/api/v1/packages/{id}/runs", Needs::One(P::RunPipelines), "packages", "Begins a run of a package"),
    route("GET", "/api/v1/package-files", Needs::One(P::RunPipelines), "packages", "Files that runs can take in"),
    route("DELETE", "/api/v1/package-files/{id}", Needs::One(P::RunPipelines), "packages", "Removes a file"),
    route("GET", "/api/v1/package-runs", Needs::One(P::Read), "packages", "Runs of packages"),
    route("GET", "/api/v1/package-runs/{id}", Needs::One(P::Read), "packages", "One run of a package"),
    route("DELETE", "/api/v1/package-runs/{id}", Needs::One(P::RunPipelines), "packages", "Removes a run that has ended"),
    route("GET", "/api/v1/package-runs/{id}/log", Needs::One(P::RunPipelines), "packages", "What a run has printed"),
    route("GET", "/api/v1/package-runs/{id}/follow", Needs::One(P::RunPipelines), "packages", "Log and state of a run as server-sent events"),
    route("GET", "/api/v1/package-runs/{id}/outputs/{name:.*}", Needs::One(P::RunPipelines), "packages", "A committed output of a run"),
    route("POST", "/api/v1/package-runs/{id}/{signal}", Needs::One(P::RunPipelines), "packages", "Pauses, resumes or stops a run"),
    route("GET", "/api/v1/session", Needs::Nothing, "accounts", "Who one is, and what one may"),
    route("POST", "/api/v1/session", Needs::Nothing, "accounts", "Logs in"),
    route("DELETE", "/api/v1/session", Needs::Nothing, "accounts", "Logs out"),
    route("POST", "/api/v1/first-administrator", Needs::Nothing, "accounts", "Makes the first administrator, by the code in the log"),
    route("POST", "/api/v1/accounts", Needs::Nothing, "accounts", "Signs up"),
    route("POST", "/api/v1/recovery", Needs::Nothing, "accounts", "Asks for a new password by letter"),
    route("POST", "/api/v1/password", Needs::Nothing, "accounts", "Sets a password by a code"),
    route("GET", "/api/v1/me", Needs::One(P::OwnAccount), "accounts", "One's own account, sessions and tokens"),
    route("GET", "/api/v1/me/profile", Needs::One(P::OwnAccount), "accounts", "One's own name and institute"),
    route("PATCH", "/api/v1/me/profile", Needs::One(P::OwnAccount), "accounts", "Changes name and institute"),
    route("POST", "/api/v1/me/password", Needs::One(P::OwnAccount), "accounts", "Changes one's password"),
    route("DELETE", "/api/v1/me/sessions", Needs::One(P::OwnAccount), "accounts", "Ends all other sessions"),
    route("POST", "/api/v1/me/tokens", Needs::One(P::OwnAccount), "accounts", "Makes a token"),
    route("DELETE", "/api/v1/me/tokens/{name}", Needs::One(P::OwnAccount), "accounts", "Revokes a token"),
    route("GET", "/api/v1/accounts", Needs::One(P::ManageAccounts), "people", "All accounts"),
    route("POST", "/api/v1/accounts/{id}/validate", Needs::One(P::ManageAccounts), "people", "Lets an account in"),
    route("POST", "/api/v1/accounts/{id}/refuse", Needs::One(P::ManageAccounts), "people", "Removes an account that waits"),
    route("POST", "/api/v1/accounts/{id}/role", Needs::One(P::ManageAccounts), "people", "Changes a role"),
    route("POST", "/api/v1/accounts/{id}/disable", Needs::One(P::ManageAccounts), "people", "Disables an account"),
    route("POST", "/api/v1/accounts/{id}/enable", Needs::One(P::ManageAccounts), "people", "Enables an account"),
    route("POST", "/api/v1/accounts/{id}/code", Needs::One(P::ManageAccounts), "people", "A code for a new password, to hand over"),
    route("GET", "/api/v1/audit", Needs::One(P::ReadAudit), "people", "What was done to accounts, and whether the chain of lines is whole"),
    route("GET", "/api/v1/nights", Needs::One(P::Read), "nights", "Past nights, the newest first"),
    route("GET", "/api/v1/nights/{night}", Needs::One(P::Read), "nights", "A night as planned and as it went: sequences, unsafe spans, reasons, report"),
    route("GET", "/api/v1/nights/{night}/sky", Needs::One(P::Read), "nights", "Altitudes of the night's targets, of the Moon and of the Sun"),
    route("GET", "/api/v1/weather", Needs::One(P::Read), "nights", "Weather samples with their limits"),
    route("GET", "/api/v1/instruments", Needs::One(P::Read), "requests", "Channels and filters that exist here, and the limits of the site"),
    route("POST", "/api/v1/requests/preview", Needs::One(P::Submit), "requests", "What a request would ask of the sky and of the quota; changes nothing"),
    route("GET", "/api/v1/targets", Needs::One(P::Submit), "requests", "Names that are known here, with their places"),
    route("GET", "/api/v1/observed", DATA, "data", "Targets that there are frames of: one's own, or everybody's"),
    route("GET", "/api/v1/observed/{name}", DATA, "data", "One target with the sequences that asked for it"),
    route("GET", "/api/v1/observed/{name}/frames", DATA, "data", "The frames of a target with what was measured, and their files"),
    route("GET", "/api/v1/observed/{name}/light-curve", DATA, "data", "The brightness of a target over its calibrated frames"),
    route("GET", "/api/v1/devices", Needs::One(P::Read), "devices", "Every device as it is now, and what can be said to it"),
    route("GET", "/api/v1/devices/{name}", Needs::One(P::Read), "devices", "One device: its numbers of the last day, its link, what it was told"),
    route("GET", "/api/v1/log", Needs::One(P::Read), "system", "Log lines, the newest first"),
    route("GET", "/api/v1/system", Needs::One(P::Read), "system", "Versions, devices and counters"),
    route("GET", "/api/v1/configuration", Needs::One(P::Operate), "system", "The configuration that is in force, without secrets"),
    route("GET", "/api/v1/pages", Needs::Nothing, "system", "Which pages there are"),
    route("GET", "/api/v1/openapi.json", Needs::Nothing, "state", "This description"),
];

/// What the table says of a request.
#[derive(Debug, Clone)]
pub enum Found {
    Route(Route),
    /// The address is here, but with these methods only.
    OtherMethod(String),
    Nowhere,
}

/// Looks up a request by its method and the pattern of the registered route.
pub fn of(method: &Method, pattern: &str) -> Found {
    let read = matches!(*method, Method::GET | Method::HEAD);
    if assets::paths().any(|path| path == pattern) {
        return match read {
            true => Found::Route(route("GET", "/", Needs::Nothing, "pages", "An embedded file")),
            false => Found::OtherMethod("GET, HEAD".into()),
        };
    }
    let name = if read { "GET" } else { method.as_str() };
    let here: Vec<&Route> = ROUTES.iter().filter(|route| route.path == pattern).collect();
    if here.is_empty() {
        return Found::Nowhere;
    }
    match here.iter().find(|route| route.method == name) {
        Some(route) => Found::Route(**route),
        None => {
            let mut methods: Vec<&str> = here.iter().map(|route| route.method).collect();
            if methods.contains(&"GET") {
                methods.push("HEAD");
            }
            Found::OtherMethod(methods.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_stands_once_and_what_changes_something_needs_a_permission_or_a_secret() {
        let mut seen = BTreeSet::new();
        // These ask for a password, a code or a token themselves, or give nothing away.
        let open = [
            "/status/command",
            "/api/v1/session",
            "/api/v1/first-administrator",
            "/api/v1/accounts",
            "/api/v1/recovery",
            "/api/v1/password",
        ];
        for route in ROUTES {
            assert!(
                seen.insert((route.method, route.path)),
                "{} {} stands twice",
                route.method,
                route.path
            );
            let changes = !["GET", "OPTIONS"].contains(&route.method);
            if changes && route.needs == Needs::Nothing {
                assert!(
                    open.contains(&route.path),
                    "{} {} is open to everybody",
                    route.method,
                    route.path
                );
            }
            assert!(
                !changes || route.needs != Needs::One(P::Read),
                "{} {} changes and needs only to read",
                route.method,
                route.path
            );
        }
    }

    #[test]
    fn methods_and_patterns_are_told_apart() {
        assert!(matches!(of(&Method::HEAD, "/api/v1/status"), Found::Route(_)));
        assert!(matches!(of(&Method::POST, "/api/v1/status"), Found::OtherMethod(_)));
        assert!(matches!(of(&Method::GET, "/api/v1/nothing"), Found::Nowhere));
        assert!(matches!(
            of(&Method::GET, "/assets/now.css"),
            Found::Route(Route {
                needs: Needs::Nothing,
                ..
            })
        ));
    }
}
