//! What holds for every back end of every kind, fake or real.

mod fields;
mod pictures;
mod refusals;
mod running;

/// Makes a test of each case for each kind, such as `conformance::comfyui::a_lora_is_applied`. The fakes take so many
/// milliseconds for a step.
macro_rules! on_every_kind {
    ($($case:ident: $step:literal)+) => {
        on_kind!(sd_server, SdServer, $($case: $step)+);
        on_kind!(comfyui, ComfyUi, $($case: $step)+);
        on_kind!(sd_webui, SdWebui, $($case: $step)+);
    };
}

macro_rules! on_kind {
    ($module:ident, $kind:ident, $($case:ident: $step:literal)+) => {
        mod $module {
            use std::time::Duration;

            use imgopen_backends::Kind;

            use crate::targets::targets;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    for target in targets(Kind::$kind, Duration::from_millis($step)).await {
                        println!("against {}", target.name);
                        super::cases::$case(&target).await;
                    }
                }
            )+
        }
    };
}

on_every_kind! {
    models_are_offered_by_the_names_of_their_files: 0
    a_picture_is_made_as_asked_for: 0
    prompts_need_not_be_english: 0
    several_pictures_have_seeds_that_count_up: 0
    the_same_seed_makes_the_same_picture: 0
    a_random_seed_is_named_and_kept_for_a_second_run: 0
    results_have_the_format_asked_for: 0
    a_sampler_with_a_schedule_is_used: 0
    a_lora_is_applied: 0
    the_hires_fix_makes_the_final_size: 0
    a_picture_is_changed_within_its_mask: 0
    a_unit_of_controlnet_is_used: 0
    the_clip_skip_does_not_stick: 0
    what_no_back_end_could_do_is_refused_by_field: 0
    what_the_server_lacks_is_refused_by_field: 0
    progress_reaches_the_end: 10
    a_cancelled_job_frees_the_server: 100
    memory_is_freed: 0
}

mod cases {
    pub use super::fields::*;
    pub use super::pictures::*;
    pub use super::refusals::*;
    pub use super::running::*;
}
