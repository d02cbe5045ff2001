// Which devices the driver knows, without opening any.
#pragma once

#include "../include/tileloom_device.h"
#include "driver.hpp"

namespace tileloom {

// Number of devices; throws TL_DEVICE_MISSING when there is none.
uint32_t count_devices(const Driver &driver);

// Facts about one device.
tl_device_entry describe_device(const Driver &driver, uint32_t ordinal);

}  // namespace tileloom
