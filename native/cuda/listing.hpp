// Which devices the driver knows, without opening any.
#pragma once

#include "../include/tileloom_device.h"
#include "driver.hpp"

namespace tileloom {

// Number of devices; throws TL_DEVICE_MISSING when there is none.
uint32_t count_devices(const Driver &driver);

// Facts about one device.
tl_device_entry describe_device(const Driver &driver, uint32_t ordinal);

// Facts about the first devices. One that does not answer has its number and capability 0, so that
// it does not hide the others; throws what the last one says when none answers.
void list_devices(const Driver &driver, tl_device_entry *entries, uint32_t count);

}  // namespace tileloom
