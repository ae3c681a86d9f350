//! Which handler answers at which address. What each of them needs stands in [`super::policy`]; without a row there it is
//! refused to everybody.

use super::{
    Problem, account, alerts, assets, commands, data, devices, events, members, nights, observed, openapi, packages,
    pipelines, planning, products, reads, records, status_page, system, targets, uploads, weather,
};
use actix_web::{guard, web};

/// A resource that answers GET and HEAD; to the rest the guard answers from its table.
pub fn read_only<F, Args>(path: &str, handler: F) -> actix_web::Resource
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    let read = guard::Any(guard::Get()).or(guard::Head());
    web::resource(path.to_owned()).route(web::route().guard(read).to(handler))
}

/// A resource that answers POST; to the rest the guard answers from its table.
pub fn write_only<F, Args>(path: &str, handler: F) -> actix_web::Resource
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    web::resource(path.to_owned()).route(web::post().to(handler))
}

/// A resource that answers GET, and DELETE with another handler.
fn kept<F, G, A, B>(path: &str, show: F, remove: G) -> actix_web::Resource
where
    F: actix_web::Handler<A>,
    A: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
    G: actix_web::Handler<B>,
    B: actix_web::FromRequest + 'static,
    G::Output: actix_web::Responder + 'static,
{
    web::resource(path.to_owned())
        .route(web::get().to(show))
        .route(web::delete().to(remove))
        .default_service(web::to(|| async { Problem::method_not_allowed("GET, DELETE") }))
}

fn package_routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource(["/api/v1/uploads", "/api/v1/uploads/"]).to(uploads::entry))
        .service(web::resource("/api/v1/uploads/{id}").to(uploads::entry))
        .service(read_only("/api/v1/packages", packages::list))
        .service(kept("/api/v1/packages/{id}", packages::show, packages::remove))
        .service(write_only("/api/v1/packages/{id}/install", packages::install))
        .service(read_only("/api/v1/packages/{id}/form", packages::form))
        .service(read_only("/api/v1/packages/{id}/files/{name}", packages::file))
        .service(write_only("/api/v1/packages/{id}/runs", packages::begin))
        .service(read_only("/api/v1/package-files", packages::files))
        .service(
            web::resource("/api/v1/package-files/{id}")
                .route(web::delete().to(packages::remove_file))
                .default_service(web::to(|| async { Problem::method_not_allowed("DELETE") })),
        )
        .service(read_only("/api/v1/package-runs", packages::runs))
        .service(kept("/api/v1/package-runs/{id}", packages::run, packages::remove_run))
        .service(read_only("/api/v1/package-runs/{id}/log", packages::log))
        .service(read_only("/api/v1/package-runs/{id}/follow", packages::follow))
        .service(read_only(
            "/api/v1/package-runs/{id}/outputs/{name:.*}",
            packages::output,
        ))
        .service(write_only("/api/v1/package-runs/{id}/{signal}", packages::signal));
}

/// Registers everything.
pub fn all(config: &mut web::ServiceConfig) {
    config
        .service(read_only("/api/v1/status", reads::status))
        .service(read_only("/api/v1/health", reads::health))
        .service(read_only("/api/v1/journal", reads::journal))
        .service(read_only("/api/v1/events", events::stream))
        .service(read_only("/api/v1/alerts", alerts::list))
        .service(read_only("/api/v1/alerts/{event}", alerts::show))
        .service(write_only("/api/v1/strategies/dry-run", alerts::dry_run))
        .service(read_only("/api/v1/strategies", alerts::strategies))
        .service(
            web::resource("/api/v1/strategies/{name}")
                .route(web::get().to(alerts::strategy))
                .route(web::put().to(alerts::apply))
                .default_service(web::to(|| async { Problem::method_not_allowed("GET, PUT") })),
        )
        .service(read_only("/api/v1/pipelines", pipelines::pipelines))
        .service(
            web::resource("/api/v1/runs")
                .route(web::get().to(pipelines::list))
                .route(web::post().to(pipelines::start))
                .default_service(web::to(|| async { Problem::method_not_allowed("GET, POST") })),
        )
        .service(read_only("/api/v1/runs/{id}", pipelines::show))
        .service(read_only("/api/v1/runs/{id}/log", pipelines::log))
        .service(read_only("/api/v1/runs/{id}/log/stream", pipelines::stream))
        .service(write_only("/api/v1/runs/{id}/cancel", pipelines::cancel))
        .service(read_only("/metrics", alerts::metrics))
        .configure(package_routes)
        .service(read_only("/api/v1/products/{path:.*}", products::product))
        .service(write_only("/api/v1/commands", commands::command))
        .service(
            web::resource("/api/v1/requests")
                .route(web::get().to(records::requests))
                .route(web::post().to(commands::submit_request))
                .default_service(web::to(|| async { Problem::method_not_allowed("GET, POST") })),
        )
        .service(write_only("/api/v1/requests/preview", planning::preview))
        .service(read_only("/api/v1/requests/{id}", records::request))
        .service(read_only("/api/v1/instruments", planning::instruments))
        .service(read_only("/api/v1/nights", nights::list))
        .service(read_only("/api/v1/nights/{night}", nights::show))
        .service(read_only("/api/v1/nights/{night}/sky", nights::sky))
        .service(read_only("/api/v1/weather", weather::weather))
        .service(read_only("/api/v1/log", system::log))
        .service(read_only("/api/v1/devices", devices::list))
        .service(read_only("/api/v1/devices/{name}", devices::show))
        .service(read_only("/api/v1/targets", targets::list))
        .service(read_only("/api/v1/observed", observed::list))
        .service(read_only("/api/v1/observed/{name}", observed::show))
        .service(read_only("/api/v1/observed/{name}/frames", observed::frames))
        .service(read_only("/api/v1/observed/{name}/light-curve", observed::light_curve))
        .service(read_only("/api/v1/system", system::state))
        .service(read_only("/api/v1/configuration", system::configuration))
        .service(read_only("/api/v1/pages", system::pages))
        .service(read_only("/api/v1/quotas", records::quotas))
        .service(
            web::resource("/api/v1/quotas/{account}")
                .route(web::get().to(records::postings))
                .route(web::post().to(records::grant))
                .default_service(web::to(|| async { Problem::method_not_allowed("GET, POST") })),
        )
        .service(write_only("/api/v1/packets", commands::submit_packet))
        .service(read_only("/api/v1/schedules", records::schedules))
        .service(read_only("/api/v1/schedules/{id}", records::schedule))
        .service(read_only("/api/v1/sequences/{id}", records::sequence))
        .service(read_only("/api/v1/sequences/{id}/why", reads::why))
        .service(write_only(
            "/api/v1/alarms/{id}/acknowledge",
            commands::acknowledge_alarm,
        ))
        .service(write_only("/api/v1/sequences/{id}/cancel", commands::cancel_sequence))
        .service(write_only("/api/v1/sequences/{id}/redo", commands::redo_sequence))
        .configure(people)
        .service(read_only("/api/v1/openapi.json", openapi::description))
        .service(read_only("/status", status_page::page))
        .service(read_only("/status/confirm", status_page::confirm))
        .service(write_only("/status/command", status_page::carry_out));
    data::routes(config);
    for path in assets::paths() {
        config.service(read_only(path, assets::serve));
    }
}

/// Accounts: one's own, and everybody's.
fn people(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/api/v1/session")
                .route(web::get().to(account::who))
                .route(web::post().to(account::log_in))
                .route(web::delete().to(account::log_out))
                .default_service(web::to(|| async { Problem::method_not_allowed("GET, POST, DELETE") })),
        )
        .service(write_only("/api/v1/first-administrator", account::first_administrator))
        .service(write_only("/api/v1/recovery", account::recover))
        .service(write_only("/api/v1/password", account::set_password))
        .service(
            web::resource("/api/v1/me")
                .route(web::get().to(account::me))
                .default_service(web::to(|| async { Problem::method_not_allowed("GET") })),
        )
        .service(
            web::resource("/api/v1/me/profile")
                .route(web::get().to(account::profile))
                .route(web::patch().to(account::change_profile))
                .default_service(web::to(|| async { Problem::method_not_allowed("GET, PATCH") })),
        )
        .service(write_only("/api/v1/me/password", account::change_password))
        .service(
            web::resource("/api/v1/me/sessions")
                .route(web::delete().to(account::end_sessions))
                .default_service(web::to(|| async { Problem::method_not_allowed("DELETE") })),
        )
        .service(write_only("/api/v1/me/tokens", account::issue_token))
        .service(
            web::resource("/api/v1/me/tokens/{name}")
                .route(web::delete().to(account::revoke_token))
                .default_service(web::to(|| async { Problem::method_not_allowed("DELETE") })),
        )
        .service(
            web::resource("/api/v1/accounts")
                .route(web::get().to(members::list))
                .route(web::post().to(account::sign_up))
                .default_service(web::to(|| async { Problem::method_not_allowed("GET, POST") })),
        )
        .service(write_only("/api/v1/accounts/{id}/validate", members::validate))
        .service(write_only("/api/v1/accounts/{id}/refuse", members::refuse))
        .service(write_only("/api/v1/accounts/{id}/role", members::set_role))
        .service(write_only("/api/v1/accounts/{id}/disable", members::disable))
        .service(write_only("/api/v1/accounts/{id}/enable", members::enable))
        .service(write_only("/api/v1/accounts/{id}/code", members::code))
        .service(read_only("/api/v1/audit", members::audit));
}
