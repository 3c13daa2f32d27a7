//! The target `router`: see the library.

fn main() {
    imgopen_fuzz::start(imgopen_fuzz::router);
}
