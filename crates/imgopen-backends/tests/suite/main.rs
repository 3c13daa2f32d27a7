//! Engines against fakes made of recordings, and against real programs where variables name them: `IMGOPEN_TEST_SDWEBUI` is
//! the address of A1111 or Forge, with a Stable Diffusion 1.5 model; `IMGOPEN_TEST_SD_SERVER` is the path of sd-server, and
//! `IMGOPEN_TEST_SD_MODELS` a directory with its models; `IMGOPEN_TEST_COMFYUI` is the address of a ComfyUI.
//!
//! `conformance` is what holds for every kind, `drift` whether programs still answer as recorded, `*_honest_fake` whether fakes do.
#![allow(clippy::unwrap_used)]

mod absences;
mod comfy_fake;
mod comfy_graphs;
mod comfy_honest_fake;
mod comfy_running;
mod comfy_workflows;
mod conformance;
mod discovery;
mod document;
mod drift;
mod extras;
mod fake;
mod faults;
mod fleet;
mod full_disks;
mod generation;
mod honest_fake;
mod inpaint;
mod inpaint_outside;
mod jobs;
mod neighbours;
mod preprocessors;
mod recordings;
mod replay;
mod rescans;
mod sd_child;
mod sd_fake;
mod sd_faults;
mod sd_honest_fake;
mod sd_program;
mod sd_real;
mod shape;
mod targets;
