//! Which web pages may call the service from a browser (CORS).

use std::time::Duration;

use axum::http::{HeaderValue, Method};
use tower_http::cors::{AllowHeaders, AllowOrigin, AllowPrivateNetwork, Any, CorsLayer};

use crate::settings::addresses::{EVERY_ORIGIN, origin};

/// How long a browser may rely on the answer to a preflight.
const AGE: Duration = Duration::from_secs(600);

/// Returns the layer that lets pages of these origins call every route; `None` if there are none.
///
/// Pages send keys as headers of their own, so no cookies or logins of the browser are let through.
pub fn layer(origins: &[String]) -> Option<CorsLayer> {
    // They were checked when the service was opened.
    let origins: Vec<_> = origins.iter().filter_map(|text| origin(text).ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let allowed = match origins.iter().any(|origin| origin == EVERY_ORIGIN) {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
    };
    let layer = CorsLayer::new().allow_origin(allowed).allow_methods([Method::GET, Method::HEAD, Method::POST]);
    let layer = layer.allow_headers(AllowHeaders::mirror_request()).expose_headers(Any).max_age(AGE);
    // Browsers ask for it before a page of a public site may call a private address.
    Some(layer.allow_private_network(AllowPrivateNetwork::yes()))
}
