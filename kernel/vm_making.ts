/** What a kernel lends to those who make VMs for it: of recordings, and of saved states. */
import type { Host } from "./host/host.ts";
import type { CoreModules } from "./world/core_modules.ts";
import type { IdentityService } from "./world/identity_service.ts";
import type { TranslationService } from "./world/translation_service.ts";
import type { VM } from "./world/vm.ts";
import type { WorldPool } from "./world/world_pool.ts";

/** What making VMs takes. */
export interface VmMaking {
  readonly host: Host;
  readonly translations: TranslationService;
  readonly cores: CoreModules;
  readonly worlds: WorldPool;
  readonly identities: IdentityService;
  /** Tells of a failure that guests survive. */
  readonly warn: (line: string) => void;
  /** Throws when no VM with so much memory can be made now. */
  readonly admit: (vm: { readonly name: string; readonly memoryBytes: number }) => void;
  /** Whether the kernel has been stopped. */
  readonly isStopped: () => boolean;
  /** Knows a VM from now on. */
  readonly follow: (vm: VM) => void;
}
