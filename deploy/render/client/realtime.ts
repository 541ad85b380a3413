// SPDX-License-Identifier: Apache-2.0
//
// Follows jobs by Postgres' own notifications: one session listens for all subscriptions of the
// process, and listens again when it was lost. For a server; browsers use Supabase's Realtime.
import pg from 'pg';

export type JobStatus =
  | 'pending' | 'processing' | 'completed' | 'failed' | 'cancelled' | 'timeout';

export interface Job {
  id: string;
  status: JobStatus;
  progress_percentage: number;
  current_step: string | null;
  result_url: string | null;
  error_message: string | null;
  updated_at: string;
}

export interface Step {
  id: string;
  job_id: string;
  step: string;
  step_order: number;
  started_at: string;
  completed_at: string | null;
  success: boolean | null;
  progress_percentage: number;
  error_message: string | null;
}

export interface ActiveJobChange {
  event: 'INSERT' | 'UPDATE';
  old_status: JobStatus | null;
  job: Job;
}

export interface Channel {
  /** Resolves once it listens: whatever changes from then on is heard. */
  readonly ready: Promise<void>;
  unsubscribe(): void;
}

export interface Health {
  database: boolean;
  realtime: boolean;
  outbox_pending?: number;
  outbox_oldest_s?: number;
  projector_lag_s?: number;
  error?: string;
}

type Payload = Record<string, unknown>;

interface Subscription {
  channel: string;
  hear(payload: Payload): void | Promise<void>;
  /** Called when it begins to listen, and each time after it did not: what is there now. */
  look(): Promise<void>;
  fail(error: Error): void;
}

const MOST_WAIT_MS = 30_000;
const CHANNELS = ['job_status_change', 'processing_timeline_update'];

export class Realtime {
  readonly #config: pg.ClientConfig;
  readonly #pool: pg.Pool;
  readonly #schema: string;
  readonly #subscriptions = new Set<Subscription>();
  #listener: Promise<pg.Client> | null = null;
  #wait = 100;
  #ended = false;

  /** DATABASE_URL must lead to a session, not to a pooler of transactions. */
  constructor(connectionString = process.env.DATABASE_URL, schema = process.env.TABLES_SCHEMA ?? 'public') {
    if (!connectionString) throw new Error('DATABASE_URL is not set');
    this.#config = { connectionString, application_name: 'render-client', keepAlive: true };
    this.#pool = new pg.Pool({ ...this.#config, max: 4 });
    this.#pool.on('error', () => {}); // an idle connection was lost; the next query opens another
    this.#schema = pg.escapeIdentifier(schema);
  }

  /** `onChange` gets the job as it is now, and then each time that it changes. */
  subscribeToJobStatus(jobId: string, onChange: (job: Job) => void, onError = report): Channel {
    const look = async () => {
      const job = await this.#job(jobId);
      if (job) onChange(job);
    };
    return this.#subscribe({
      channel: 'job_status_change',
      look,
      fail: onError,
      hear: (payload) => {
        if (payload.job_id !== jobId) return undefined;
        if (payload.truncated) return look();
        return onChange(jobOf(payload));
      },
    });
  }

  /** `onStep` gets the steps so far, and then each that begins, goes on or ends. */
  subscribeToProcessingTimeline(jobId: string, onStep: (step: Step) => void, onError = report): Channel {
    const look = async () => {
      const steps = await this.#pool.query(
        `SELECT id, job_id, step, step_order, started_at, completed_at, success,
                progress_percentage, error_message
         FROM ${this.#schema}.processing_timeline WHERE job_id = $1 ORDER BY step_order, started_at`,
        [jobId]);
      steps.rows.forEach(onStep);
    };
    return this.#subscribe({
      channel: 'processing_timeline_update',
      look,
      fail: onError,
      hear: (payload) => {
        if (payload.job_id !== jobId) return undefined;
        if (payload.truncated) return look();
        const { timeline_id: id, ...rest } = payload;
        return onStep({ id, ...rest } as unknown as Step);
      },
    });
  }

  /** `onChange` gets each change of any job that this login may see, its end too. */
  subscribeToActiveJobs(onChange: (change: ActiveJobChange) => void, onError = report): Channel {
    return this.#subscribe({
      channel: 'job_status_change',
      fail: onError,
      look: async () => {
        const ids = await this.#pool.query(`SELECT id FROM ${this.#schema}.active_jobs`);
        for (const { id } of ids.rows) {
          const job = await this.#job(id);
          if (job) onChange({ event: 'INSERT', old_status: null, job });
        }
      },
      hear: async (payload) => {
        const job = payload.truncated ? await this.#job(String(payload.job_id)) : jobOf(payload);
        const old_status = (payload.old_status ?? null) as JobStatus | null;
        if (job) onChange({ event: old_status === null ? 'INSERT' : 'UPDATE', old_status, job });
      },
    });
  }

  /** Whether the database answers, and whether what is notified there is heard here. */
  async healthCheck(timeoutMs = 5_000): Promise<Health> {
    const health: Health = { database: false, realtime: false };
    try {
      const answer = await this.#pool.query(`SELECT ${this.#schema}.health_check() AS health`);
      Object.assign(health, answer.rows[0].health, { database: true });
      health.realtime = await this.#echo(timeoutMs);
    } catch (error) {
      health.error = (error as Error).message;
    }
    return health;
  }

  async end(): Promise<void> {
    this.#ended = true;
    this.#subscriptions.clear();
    const listener = await this.#listener?.catch(() => null);
    await listener?.end();
    await this.#pool.end();
  }

  async #job(id: string): Promise<Job | undefined> {
    const found = await this.#pool.query(
      `SELECT id, status, progress_percentage, current_step, result_url, error_message, updated_at
       FROM ${this.#schema}.job_progress_subscription WHERE id = $1`, [id]);
    return found.rows[0];
  }

  #subscribe(subscription: Subscription): Channel {
    this.#subscriptions.add(subscription);
    const ready = this.#listen()
      .then(() => subscription.look())
      .catch((error: Error) => subscription.fail(error));
    return { ready, unsubscribe: () => void this.#subscriptions.delete(subscription) };
  }

  /** The session that listens; several callers wait for one. */
  #listen(): Promise<pg.Client> {
    this.#listener ??= this.#connect().catch((error: Error) => {
      this.#listener = null;
      this.#again();
      throw error;
    });
    return this.#listener;
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client(this.#config);
    const lost = (error?: Error) => {
      if (this.#ended || this.#listener === null) return;
      this.#listener = null;
      const reason = error ?? new Error('the connection that listens was closed');
      for (const subscription of this.#subscriptions) subscription.fail(reason);
      this.#again();
    };
    await client.connect();
    client.on('error', lost);
    client.on('end', () => lost());
    client.on('notification', ({ channel, payload }) => this.#hear(channel, payload ?? '{}'));
    for (const channel of CHANNELS) await client.query(`LISTEN ${channel}`);
    this.#wait = 100;
    return client;
  }

  /** Connects again after a while, and looks what happened meanwhile. */
  #again(): void {
    if (this.#ended || this.#subscriptions.size === 0) return;
    setTimeout(() => {
      if (this.#ended || this.#listener !== null) return;
      this.#listen()
        .then(() => Promise.all([...this.#subscriptions].map((one) => one.look())))
        .catch((error: Error) => this.#subscriptions.forEach((one) => one.fail(error)));
    }, this.#wait);
    this.#wait = Math.min(2 * this.#wait, MOST_WAIT_MS);
  }

  #hear(channel: string, text: string): void {
    const payload = JSON.parse(text) as Payload;
    for (const subscription of this.#subscriptions) {
      if (subscription.channel !== channel) continue;
      Promise.resolve()
        .then(() => subscription.hear(payload))
        .catch((error: Error) => subscription.fail(error));
    }
  }

  async #echo(timeoutMs: number): Promise<boolean> {
    const client = await this.#listen();
    const channel = `render_echo_${Math.random().toString(36).slice(2)}`;
    let heard: (answer: boolean) => void = () => {};
    const answer = new Promise<boolean>((resolve) => { heard = resolve; });
    const timer = setTimeout(() => heard(false), timeoutMs);
    const hear = (message: pg.Notification) => message.channel === channel && heard(true);
    client.on('notification', hear);
    try {
      await client.query(`LISTEN ${channel}`);
      await this.#pool.query('SELECT pg_notify($1, $2)', [channel, '{}']);
      return await answer;
    } finally {
      clearTimeout(timer);
      client.off('notification', hear);
      await client.query(`UNLISTEN ${channel}`).catch(() => {});
    }
  }
}

function jobOf(payload: Payload): Job {
  const { job_id: id, new_status: status, old_status: _old, ...rest } = payload;
  return { id, status, ...rest } as unknown as Job;
}

function report(error: Error): void {
  console.error(`subscription: ${error.message}`);
}

let shared: Realtime | null = null;
const ours = (): Realtime => (shared ??= new Realtime());

/** The same with one Realtime for the process, by DATABASE_URL. */
export const subscribeToJobStatus: Realtime['subscribeToJobStatus'] =
  (...given) => ours().subscribeToJobStatus(...given);
export const subscribeToProcessingTimeline: Realtime['subscribeToProcessingTimeline'] =
  (...given) => ours().subscribeToProcessingTimeline(...given);
export const subscribeToActiveJobs: Realtime['subscribeToActiveJobs'] =
  (...given) => ours().subscribeToActiveJobs(...given);
export const healthCheck: Realtime['healthCheck'] = (...given) => ours().healthCheck(...given);
export const end = async (): Promise<void> => {
  const last = shared;
  shared = null;
  await last?.end();
};
