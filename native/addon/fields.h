#pragma once
// Reading the properties of a JavaScript object, with errors that name the property.

#include <napi.h>

#include <cstdint>
#include <string>

#include "../engine_error.h"

namespace electra::addon {

class Fields {
 public:
  /// `owner` stands before the property's name in errors: "model.discriminator".
  Fields(Napi::Value value, std::string owner) : owner_(std::move(owner)) {
    if (!value.IsObject()) throw EngineError("ERR_ELECTRA_ARGUMENT", "%s must be an object", owner_.c_str());
    object_ = value.As<Napi::Object>();
  }

  std::string path(const char* name) const { return owner_ + "." + name; }
  Napi::Value value(const char* name) const { return object_.Get(name); }
  bool has(const char* name) const {
    const Napi::Value found = value(name);
    return !found.IsUndefined() && !found.IsNull();
  }

  double number(const char* name) const {
    const Napi::Value found = value(name);
    if (!found.IsNumber()) fail(name, "a number");
    return found.As<Napi::Number>().DoubleValue();
  }
  double number(const char* name, double fallback) const { return has(name) ? number(name) : fallback; }

  float real(const char* name, float fallback) const {
    return static_cast<float>(number(name, static_cast<double>(fallback)));
  }
  int32_t whole(const char* name) const {
    const double found = number(name);
    if (!(found >= -2147483648.0 && found <= 2147483647.0) ||
        found != static_cast<double>(static_cast<int32_t>(found)))
      fail(name, "a whole number of 32 bits");
    return static_cast<int32_t>(found);
  }
  int32_t whole(const char* name, int32_t fallback) const { return has(name) ? whole(name) : fallback; }
  /// A whole number in [0, 2^53].
  uint64_t counter(const char* name, uint64_t fallback) const {
    if (!has(name)) return fallback;
    const double found = number(name);
    if (!(found >= 0 && found <= 9007199254740992.0) ||
        found != static_cast<double>(static_cast<uint64_t>(found)))
      fail(name, "a whole number that is not negative");
    return static_cast<uint64_t>(found);
  }

  bool flag(const char* name, bool fallback) const {
    if (!has(name)) return fallback;
    const Napi::Value found = value(name);
    if (!found.IsBoolean()) fail(name, "a boolean");
    return found.As<Napi::Boolean>().Value();
  }
  std::string text(const char* name) const {
    const Napi::Value found = value(name);
    if (!found.IsString()) fail(name, "a string");
    return found.As<Napi::String>().Utf8Value();
  }
  std::string text(const char* name, const char* fallback) const { return has(name) ? text(name) : fallback; }

  [[noreturn]] void fail(const char* name, const char* wanted) const {
    throw EngineError("ERR_ELECTRA_ARGUMENT", "%s must be %s", path(name).c_str(), wanted);
  }

 private:
  Napi::Object object_;
  std::string owner_;
};

}  // namespace electra::addon
