// The pages: where, and what must be visible there. A path names things of the hub by braces: {run},
// {conflict}, {plan}, {snapshot}, {spoke}, {schedule}, {leaf} become the newest the hub has.

/** Pages that are served. A row that does not answer is a failure. */
export const served = [
  { path: '/', shows: [/can be restored|do not know|Safe, but/i, /circuitum99/, /ledger/] },
  { path: '/no-such-page', status: 404, shows: [/no such page/i] },
];

/** Pages that are still to come: 404 is told as missing. When one is served, its row moves up. */
export const awaited = [
  { path: '/ecosystem', shows: [/circuitum99/, /ledger/, /codex/] },
  { path: '/spokes/{spoke}', shows: [/bidirectional|distribution|collection/i] },
  { path: '/runs', shows: [/succeeded|partly|failed/i] },
  { path: '/runs?failed=1', shows: [] },
  { path: '/runs/{run}', shows: [/validate/i, /snapshot/i, /verify/i] },
  { path: '/runs/999999999', status: 404, shows: [/no run/i] },
  { path: '/plans/{plan}', shows: [/plan/i] },
  { path: '/conflicts', shows: [/ledger|codex|circuitum99/] },
  { path: '/conflicts/{conflict}', shows: [/hub/i, /spoke/i] },
  { path: '/snapshots', shows: [/snapshot/i] },
  { path: '/snapshots/{snapshot}', shows: [/root/i] },
  { path: '/restore', shows: [/restore/i] },
  { path: '/integrity', shows: [/leaf|leaves/i, /head/i] },
  { path: '/integrity/leaf/{leaf}', shows: [/proof/i] },
  { path: '/schedules', shows: [/next/i] },
  { path: '/events', shows: [/event/i] },
  { path: '/settings', shows: [/configuration/i] },
  { path: '/settings/config', shows: [/configuration/i] },
  { path: '/settings/destinations', shows: [/destination/i] },
  { path: '/settings/keys', shows: [/key/i] },
  { path: '/search?q=ledger', shows: [/ledger/] },
  { path: '/status', shows: [/can be restored|do not know|Safe, but/i] },
];
