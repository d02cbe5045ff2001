#include "listing.hpp"

#include <cstdio>

#include "../core/failure.hpp"

namespace tileloom {
namespace {

// 0 where the driver does not tell.
uint32_t attribute_or_zero(const Driver &driver, int attribute, CuDevice device) {
  int value = 0;
  const bool told = driver.answers(driver.device_get_attribute(&value, attribute, device),
                                   "cuDeviceGetAttribute");
  return told && value > 0 ? static_cast<uint32_t>(value) : 0;
}

uint32_t capability_of(const Driver &driver, CuDevice device) {
  int major = 0;
  int minor = 0;
  driver.check(driver.device_get_attribute(&major, kAttributeMajor, device),
               "cuDeviceGetAttribute");
  driver.check(driver.device_get_attribute(&minor, kAttributeMinor, device),
               "cuDeviceGetAttribute");
  return static_cast<uint32_t>(major * 10 + minor);
}

// As nvidia-smi writes it.
void write_uuid(const Driver &driver, CuDevice device, char (&text)[48]) {
  CuUuid uuid{};
  if (driver.device_get_uuid == nullptr ||
      !driver.answers(driver.device_get_uuid(&uuid, device), "cuDeviceGetUuid")) {
    return;
  }
  char *at = text + std::snprintf(text, sizeof text, "GPU-");
  for (int index = 0; index < 16; ++index) {
    const bool dash = index == 4 || index == 6 || index == 8 || index == 10;
    at += std::snprintf(at, static_cast<size_t>(text + sizeof text - at), dash ? "-%02x" : "%02x",
                        uuid.bytes[index]);
  }
}

}  // namespace

uint32_t count_devices(const Driver &driver) {
  int count = 0;
  driver.check(driver.device_get_count(&count), "cuDeviceGetCount");
  if (count <= 0) {
    throw Failure(TL_DEVICE_MISSING,
                  "has a driver without a device; check CUDA_VISIBLE_DEVICES, or run on the CPU");
  }
  return static_cast<uint32_t>(count);
}

tl_device_entry describe_device(const Driver &driver, uint32_t ordinal) {
  tl_device_entry entry{};
  CuDevice device = 0;
  driver.check(driver.device_get(&device, static_cast<int>(ordinal)), "cuDeviceGet");
  entry.ordinal = ordinal;
  entry.capability = capability_of(driver, device);
  entry.multiprocessors = attribute_or_zero(driver, kAttributeMultiprocessors, device);
  entry.fp32_per_fp64 = attribute_or_zero(driver, kAttributeSingleToDouble, device);
  size_t total = 0;
  if (driver.device_total_memory != nullptr &&
      driver.answers(driver.device_total_memory(&total, device), "cuDeviceTotalMem")) {
    entry.total_bytes = total;
  }
  write_uuid(driver, device, entry.uuid);
  driver.check(driver.device_get_bus_id(entry.pci_bus_id, sizeof entry.pci_bus_id, device),
               "cuDeviceGetPCIBusId");
  driver.check(driver.device_get_name(entry.name, sizeof entry.name, device), "cuDeviceGetName");
  return entry;
}

void list_devices(const Driver &driver, tl_device_entry *entries, uint32_t count) {
  uint32_t described = 0;
  Failure last(TL_OK, "");
  for (uint32_t index = 0; index < count; ++index) {
    try {
      entries[index] = describe_device(driver, index);
      described += 1;
    } catch (const Failure &failure) {
      if (failure.status == TL_DEVICE_LOST) {
        throw;
      }
      last = failure;
      entries[index] = tl_device_entry{};
      entries[index].ordinal = index;
      std::snprintf(entries[index].name, sizeof entries[index].name, "device that does not answer");
    }
  }
  if (described == 0 && count > 0) {
    throw last;
  }
}

}  // namespace tileloom
