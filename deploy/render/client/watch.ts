// SPDX-License-Identifier: Apache-2.0
//
// node dist/watch.js [JOB…]: prints each change of these jobs and of their steps, or of all jobs, as a
// line of JSON; ends once all of these have. With --health it prints the health and ends.
import {
  end, healthCheck, subscribeToActiveJobs, subscribeToJobStatus, subscribeToProcessingTimeline,
} from './realtime.js';

const ended = new Set(['completed', 'failed', 'cancelled', 'timeout']);
const say = (what: string, value: object) => console.log(JSON.stringify({ what, ...value }));
const jobs = process.argv.slice(2);

if (jobs[0] === '--health') {
  const health = await healthCheck();
  say('health', health);
  process.exitCode = health.database && health.realtime ? 0 : 1;
  await end();
} else if (jobs.length === 0) {
  await subscribeToActiveJobs((change) => say('active', change)).ready;
  say('ready', {});
} else {
  const open = new Set(jobs);
  const channels = jobs.flatMap((id) => [
    subscribeToProcessingTimeline(id, (step) => say('step', step)),
    subscribeToJobStatus(id, (job) => {
      say('job', job);
      if (ended.has(job.status) && open.delete(id) && open.size === 0) setTimeout(end, 200);
    }),
  ]);
  await Promise.all(channels.map((channel) => channel.ready));
  say('ready', {});
}
