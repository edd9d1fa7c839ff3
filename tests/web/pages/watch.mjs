// What a page does behind its face: console, requests that fail, requests to others.

export class Watch {
  #page;
  #heard;
  errors = [];
  failed = [];
  strangers = [];

  constructor(page, address) {
    this.#page = page;
    this.#heard = {
      console: (message) => message.type() === 'error' && this.errors.push(message.text()),
      pageerror: (error) => this.errors.push(String(error)),
      request: (request) => {
        const url = request.url();
        if (!url.startsWith(`${address}/`) && !url.startsWith('data:')) this.strangers.push(url);
      },
      response: (response) => {
        if (response.status() >= 400) this.failed.push(`${response.status()} ${response.url()}`);
      },
      requestfailed: (request) => {
        // Leaving a page ends its stream of events, what it was fetching, and the icon that is still on its way.
        const isCut = request.resourceType() === 'fetch' || /\/events\/stream|\/icon-/.test(request.url());
        if (isCut && request.failure()?.errorText === 'net::ERR_ABORTED') return;
        this.failed.push(`${request.failure()?.errorText} ${request.url()}`);
      },
    };
    for (const [event, hear] of Object.entries(this.#heard)) page.on(event, hear);
  }

  end() {
    for (const [event, hear] of Object.entries(this.#heard)) this.#page.off(event, hear);
    return this;
  }
}
