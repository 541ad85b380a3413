/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a studio's web pages write and read: events, posted to event-ingest, and the tables that the
 * consumers keep of them. The names are those of the pages' own libraries.
 *
 *     configure({ ingestUrl, token: () => session.access_token, tables: postgrest(url, key, token) })
 *     const project = await createProject({ title: 'My Project' })
 *     await updateProject(project.id, { script: '…' })
 *
 * What cannot be published raises NotPublished; nothing is "saved" that is not. Without `ingestUrl`
 * nothing is written: persistence is off, which is said once, and the page works from its own state.
 */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
export type Row = Record<string, any>

/** Reads rows of one table; `filter` is column = value. */
export interface Tables {
  select(table: string, filter: Record<string, string>, order?: string): Promise<Row[]>
}

export interface Settings {
  ingestUrl?: string
  token?: () => string | undefined
  tables?: Tables
  /** Where Supabase is, for its storage. */
  storageUrl?: string
  fetch?: typeof fetch
  log?: (message: string) => void
}

export interface SceneInput {
  scene_id: string
  number?: number | null
  title?: string | null
  description?: string | null
  prompt?: string | null
}

export interface ProjectTexts {
  title?: string | null
  description?: string | null
  script?: string | null
  seo_title?: string | null
  seo_description?: string | null
  seo_tags?: string[] | null
  seo_hashtags?: string[] | null
  seo_chapters?: Json
}

/** Nothing was written. `status` is that of HTTP; 0 where nobody answered. */
export class NotPublished extends Error {
  constructor(readonly status: number, reason: string) {
    super(status === 0 ? reason : `${reason} (HTTP ${status})`)
    this.name = 'NotPublished'
  }
}

let settings: Settings = {}
let isSaid = false

export function configure(wanted: Settings): void {
  settings = wanted
  isSaid = false
  seen.clear()
}

function log(message: string): void {
  (settings.log ?? console.warn)(message)
}

/** Whether anything is stored at all. */
export function isPersistent(): boolean {
  if (settings.ingestUrl) return true
  if (!isSaid) log('no event-ingest is configured: nothing is stored, and pages keep their own state')
  isSaid = true
  return false
}

/* --- revisions ------------------------------------------------------------------------------- */

/* The greatest revision known of each thing: of what was read, and of what was written here. */
const seen = new Map<string, number>()

export function saw(thing: string, revision: number | string | null | undefined): void {
  const number = Number(revision ?? 0)
  if (number > (seen.get(thing) ?? 0)) seen.set(thing, number)
}

/* Microseconds, and later than all that is known of the thing, however wrong this clock is. */
function nextRevision(thing: string): { revision: number; base?: number } {
  const base = seen.get(thing)
  const revision = Math.max(Date.now() * 1000, (base ?? 0) + 1)
  seen.set(thing, revision)
  return { revision, base }
}

/* --- publishing ------------------------------------------------------------------------------ */

const TRIES = 5
const KEEPALIVE_MOST = 60 * 1024 // browsers take 64 KiB of all that is under way

const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

async function post(topic: string, event: Row, atUnload = false): Promise<void> {
  if (!isPersistent()) return
  const token = settings.token?.()
  const body = JSON.stringify(event)
  const request: RequestInit = {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(token ? { Authorization: `Bearer ${token}` } : {}) },
    body,
    keepalive: atUnload && new TextEncoder().encode(body).length <= KEEPALIVE_MOST,
  }
  for (let attempt = 1; ; attempt++) {
    let status = 0
    let reason = 'event-ingest cannot be reached'
    try {
      const answer = await (settings.fetch ?? fetch)(`${settings.ingestUrl}/v1/events/${topic}`, request)
      if (answer.status === 202) return
      status = answer.status
      reason = await answer.text()
      try { reason = JSON.parse(reason).error ?? reason } catch { /* not JSON */ }
    } catch (error) {
      reason += `: ${error instanceof Error ? error.message : error}`
    }
    /* The same event, by its id: however often it is sent, it counts once. */
    const mayPass = status === 0 || status === 429 || status === 503
    if (!mayPass || attempt === TRIES || atUnload) throw new NotPublished(status, reason)
    await sleep(Math.min(200 * 2 ** attempt, 3000))
  }
}

async function publish(topic: string, thing: string, event: Row, type: string, body: Row,
                       atUnload = false): Promise<number> {
  const { revision, base } = nextRevision(thing)
  const content: Row = { type, ...body }
  if (type === 'ProjectSaved') content['base_revision'] = base ?? null
  await post(topic, { event_id: crypto.randomUUID(), ...event, revision,
                      emitted_at: new Date().toISOString(), body: content }, atUnload)
  return revision
}

const ofProject = (projectId: string, type: string, body: Row, atUnload = false) =>
  publish('studio.projects', `project ${projectId}`, { project_id: projectId }, type, body, atUnload)
const ofClips = (projectId: string, type: string, body: Row) =>
  publish('studio.clips', `clips ${projectId}`, { project_id: projectId }, type, body)
const ofMedia = (projectId: string, type: string, body: Row) =>
  publish('studio.media', `media ${projectId}`, { project_id: projectId }, type, body)

/* --- projects -------------------------------------------------------------------------------- */

const TEXTS = ['title', 'description', 'script', 'seo_title', 'seo_description', 'seo_tags',
               'seo_hashtags', 'seo_chapters'] as const

/** A project with an id of its own. */
export async function createProject(texts: ProjectTexts = {}): Promise<Row & { id: string }> {
  const id = crypto.randomUUID()
  await saveProject(id, texts, null)
  return { id, ...texts }
}

/** Only the named texts; the others stay as they are, also those that another tab writes. */
export async function updateProject(id: string, texts: ProjectTexts): Promise<void> {
  const fields = TEXTS.filter(name => name in texts)
  if (fields.length < Object.keys(texts).length)
    throw new TypeError(`a project has no ${Object.keys(texts).filter(name => !(fields as string[]).includes(name))}; ` +
                        'its status is the renderer\'s')
  await ofProject(id, 'ProjectSaved', { fields, ...texts })
}

/** All texts (those left out are emptied) and, unless null, all scenes. */
export async function saveProject(id: string, texts: ProjectTexts, scenes: SceneInput[] | null,
                                  atUnload = false): Promise<void> {
  const whole = Object.fromEntries(TEXTS.map(name => [name, texts[name] ?? null]))
  await ofProject(id, 'ProjectSaved', { ...whole, scenes: scenes as Json }, atUnload)
}

/** The whole set; an empty one removes the last scene. Texts stay. */
export async function syncScenes(projectId: string, scenes: SceneInput[]): Promise<void> {
  await ofProject(projectId, 'ProjectSaved', { fields: [], scenes })
}

export async function deleteProject(id: string, reason?: string): Promise<void> {
  await ofProject(id, 'ProjectDeleted', { reason: reason ?? null })
}

/** From the tables; where they have none (yet), or cannot be read, from `fallback`, the page's state. */
export async function loadProject(id: string, fallback?: () => Row | null | undefined): Promise<Row | null> {
  const tables = settings.tables
  let project: Row | undefined
  if (tables) {
    try {
      project = (await tables.select('projects', { id }))[0]
      if (project) {
        const [scenes, clips] = await Promise.all([
          tables.select('scenes', { project_id: id }, 'position'),
          tables.select('clips', { project_id: id }, 'order_index')])
        saw(`project ${id}`, project['revision'])
        for (const clip of clips) saw(`clips ${id}`, clip['revision'])
        return { ...project, scenes, clips }
      }
    } catch (error) {
      if (!fallback) throw error
      log(`the tables cannot be read, and the page's own state is taken: ${error}`)
    }
  }
  return fallback?.() ?? null
}

/* --- clips ----------------------------------------------------------------------------------- */

export interface ClipInput {
  id?: string
  project_id: string
  scene_id?: string | null
  provider?: string | null
  status?: string
  file_url?: string | null
  thumbnail_url?: string | null
  duration?: number | null
  prompt?: string | null
}

/** The clip's id: that which it has, else a new one. The same clip saved twice is one row. */
export async function saveClip(clip: ClipInput): Promise<string> {
  const { id = crypto.randomUUID(), project_id, duration, ...rest } = clip
  await ofClips(project_id, 'ClipSaved', {
    clip_id: id, ...rest, duration: duration == null ? null : Number(duration.toFixed(6)) })
  return id
}

export async function trimClip(projectId: string, clipId: string, start: number | null,
                               end: number | null): Promise<void> {
  await ofClips(projectId, 'ClipTrimmed', { clip_id: clipId, start_trim: start, end_trim: end })
}

/** The whole order, in one event: two tabs end with one of the two. */
export async function reorderClips(projectId: string, clipIds: string[]): Promise<void> {
  await ofClips(projectId, 'ClipsReordered', { clip_ids: clipIds })
}

export async function deleteClip(projectId: string, clipId: string): Promise<void> {
  await ofClips(projectId, 'ClipDeleted', { clip_id: clipId })
}

/* --- storage --------------------------------------------------------------------------------- */

export type Bucket = 'clips' | 'audio' | 'exports' | 'thumbnails'

/** Stores a file and says that it is stored; its public URL. Keys of clips are made of the clip's id:
 * projects/<project>/clips/<clip>.mp4, so that two clips of a scene are two objects. */
export async function uploadFile(bucket: Bucket, path: string, file: Blob): Promise<string> {
  if (!settings.storageUrl) throw new NotPublished(0, 'no storage is configured')
  const key = path.split('/').map(encodeURIComponent).join('/')
  const token = settings.token?.()
  const answer = await (settings.fetch ?? fetch)(`${settings.storageUrl}/storage/v1/object/${bucket}/${key}`, {
    method: 'POST', body: file,
    headers: { 'x-upsert': 'true', ...(token ? { Authorization: `Bearer ${token}` } : {}) } })
  if (!answer.ok) throw new NotPublished(answer.status, `the file was not stored: ${await answer.text()}`)
  const url = `${settings.storageUrl}/storage/v1/object/public/${bucket}/${key}`
  await publish('studio.objects', `object ${bucket}/${path}`, { bucket, object_key: path }, 'ObjectStored',
                { size_bytes: file.size, content_type: file.type || null, etag: answer.headers.get('etag'),
                  public_url: url })
  return url
}

/** Narration or music of a project, which has a row of its own. */
export async function saveAudioFile(projectId: string, url: string, filename?: string): Promise<string> {
  const id = crypto.randomUUID()
  await ofMedia(projectId, 'AudioFileSaved', { audio_id: id, file_url: url, filename: filename ?? null })
  return id
}

/* --- saving while somebody works ------------------------------------------------------------- */

export interface SyncOptions {
  projectId: string
  autoSaveDelay?: number
  enabled?: boolean
  /** What the page shows now. */
  state: () => { texts: ProjectTexts; scenes: SceneInput[] }
  onError?: (error: unknown) => void
}

/**
 * Saves the whole project once nothing has changed for `autoSaveDelay` (1.5 s), one save at a time,
 * and at the unload of the page. A save that fails is told to `onError`, and tried again with the
 * next change, or after ten seconds; what was not saved is never forgotten.
 */
export class ProjectSync {
  private timer: ReturnType<typeof setTimeout> | undefined
  private saving: Promise<void> | undefined
  private isDirty = false

  constructor(private readonly options: SyncOptions) {}

  /** Call it after each change: of a text, of scenes, also when the last scene goes. */
  changed(): void {
    if (this.options.enabled === false) return
    this.isDirty = true
    this.wait(this.options.autoSaveDelay ?? 1500)
  }

  get isUnsaved(): boolean {
    return this.isDirty || this.saving !== undefined
  }

  /** Resolves once all that has changed until now is published; rejects where it is not. */
  async saveNow(): Promise<void> {
    clearTimeout(this.timer)
    while (this.saving) await this.saving.catch(() => undefined)
    if (!this.isDirty) return
    this.isDirty = false
    const { texts, scenes } = this.options.state()
    this.saving = saveProject(this.options.projectId, texts, scenes)
    try {
      await this.saving
    } catch (error) {
      this.isDirty = true
      throw error
    } finally {
      this.saving = undefined
    }
  }

  /** For the events pagehide and visibilitychange: sends what is unsaved, and waits for nothing. */
  unload(): void {
    if (!this.isDirty) return
    clearTimeout(this.timer)
    this.isDirty = false
    const { texts, scenes } = this.options.state()
    saveProject(this.options.projectId, texts, scenes, true).catch(error => {
      this.isDirty = true
      this.options.onError?.(error)
    })
  }

  stop(): void {
    clearTimeout(this.timer)
  }

  private wait(ms: number): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => {
      this.saveNow().catch(error => {
        this.options.onError?.(error)
        this.wait(10_000)
      })
    }, ms)
  }
}

/** Of React, what the hook needs; so that this file needs none. */
export interface Hooks {
  useState<T>(initial: T): [T, (value: T) => void]
  useRef<T>(initial: T): { current: T }
  useEffect(effect: () => void | (() => void), dependencies?: unknown[]): void
}

/**
 *     const useProjectSync = makeUseProjectSync(React)
 *     const { saveNow, isInitialLoad } = useProjectSync({ projectId, autoSaveDelay: 1500, state, apply })
 *
 * Loads the project once (`apply` gets it, or null) and saves what changes in `state` after that.
 */
export function makeUseProjectSync(hooks: Hooks) {
  return function useProjectSync(options: {
    projectId: string
    autoSaveDelay?: number
    enabled?: boolean
    state: { texts: ProjectTexts; scenes: SceneInput[] }
    apply?: (project: Row | null) => void
    onError?: (error: unknown) => void
  }) {
    const { projectId, autoSaveDelay = 1500, enabled = true } = options
    const [isInitialLoad, setInitialLoad] = hooks.useState(true)
    const latest = hooks.useRef(options)
    const sync = hooks.useRef<ProjectSync | null>(null)
    const saved = hooks.useRef('')
    latest.current = options

    hooks.useEffect(() => {
      let isGone = false
      const own = new ProjectSync({ projectId, autoSaveDelay, enabled, state: () => latest.current.state,
                                    onError: error => latest.current.onError?.(error) })
      sync.current = own
      setInitialLoad(true)
      loadProject(projectId, () => null)
        .then(project => { if (!isGone) latest.current.apply?.(project) },
              error => latest.current.onError?.(error))
        .finally(() => {
          if (isGone) return
          saved.current = JSON.stringify(latest.current.state)
          setInitialLoad(false)
        })
      const leave = () => own.unload()
      globalThis.addEventListener?.('pagehide', leave)
      return () => {
        isGone = true
        own.unload()
        own.stop()
        globalThis.removeEventListener?.('pagehide', leave)
      }
    }, [projectId, autoSaveDelay, enabled])

    const now = JSON.stringify(options.state)
    hooks.useEffect(() => {
      if (isInitialLoad || now === saved.current) return
      saved.current = now
      sync.current?.changed()
    }, [now, isInitialLoad])

    return { isInitialLoad, saveNow: () => sync.current?.saveNow() ?? Promise.resolve() }
  }
}

/* --- reading from Supabase ------------------------------------------------------------------- */

/** The tables as Supabase serves them (PostgREST). */
export function postgrest(url: string, anonKey: string, token: () => string | undefined = () => undefined,
                          schema = 'public'): Tables {
  return {
    async select(table, filter, order) {
      const query = new URLSearchParams({ select: '*' })
      for (const [column, value] of Object.entries(filter)) query.set(column, `eq.${value}`)
      if (order) query.set('order', order)
      const answer = await (settings.fetch ?? fetch)(`${url}/rest/v1/${table}?${query}`, {
        headers: { apikey: anonKey, Authorization: `Bearer ${token() ?? anonKey}`, 'Accept-Profile': schema } })
      if (!answer.ok) throw new Error(`${table} cannot be read: HTTP ${answer.status} ${await answer.text()}`)
      return await answer.json() as Row[]
    },
  }
}
