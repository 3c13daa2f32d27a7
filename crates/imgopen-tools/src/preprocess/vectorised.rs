//! Loops over pixels, run with the vector instructions that the machine has.

/// `vectorised!(name = plain(argument: Type, …))` makes a function that calls `plain`, compiled for these.
///
/// `plain` is `#[inline(always)]`, and so is all that it calls: only what becomes part of the call is compiled anew. A
/// closure would not, once it is large. References have the lifetime `'a`.
macro_rules! vectorised {
    ($visible:vis $name:ident = $plain:ident($($argument:ident: $kind:ty),+ $(,)?)) => {
        $visible fn $name<'a>($($argument: $kind),+) {
            struct Work<'a> {
                $($argument: $kind),+
            }

            impl pulp::NullaryFnOnce for Work<'_> {
                type Output = ();

                #[inline(always)]
                fn call(self) {
                    $plain($(self.$argument),+);
                }
            }

            pulp::Arch::new().dispatch(Work { $($argument),+ });
        }
    };
}
