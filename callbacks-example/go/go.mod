module wit_component // the name that the bindings expect

go 1.25

require go.bytecodealliance.org/pkg v0.4.0

// What the bindings need at run time, in the form that suits haul: see abi/wit/runtime/runtime.go.
replace go.bytecodealliance.org/pkg => ./abi
