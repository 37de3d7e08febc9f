#pragma once
// What a failed piece of work leaves behind, and how it becomes a JavaScript Error with a `code`.

#include <napi.h>

#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "../engine_error.h"

namespace electra::addon {

struct Failure {
  std::string code;
  std::string message;
};

/// Call inside a catch block.
inline Failure current_failure() {
  try {
    throw;
  } catch (const EngineError& error) {
    return {error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return {"ERR_ELECTRA_OUT_OF_MEMORY", "The engine ran out of memory."};
  } catch (const std::exception& error) {
    return {"ERR_ELECTRA_INTERNAL", std::string("The engine failed: ") + error.what()};
  } catch (...) {
    return {"ERR_ELECTRA_INTERNAL", "The engine failed with an unknown exception."};
  }
}

inline Napi::Error to_error(Napi::Env env, const Failure& failure) {
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Value().Set("code", Napi::String::New(env, failure.code));
  return error;
}

/// Runs the body of a callback from JavaScript; whatever it throws arrives there as an Error with a code.
template <typename Body>
auto guarded(Napi::Env env, Body&& body) -> decltype(body()) {
  try {
    return std::forward<Body>(body)();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw to_error(env, current_failure());
  }
}

}  // namespace electra::addon
